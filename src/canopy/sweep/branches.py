"""Conditional search spaces: keys that are swept only in trials with a given value of another key."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Branch:
    """Keys of those trials alone in which another key has a given value.

    Attributes:
        key: That other key.
        value: Its value, as text.
        space: Distribution of each key that is swept then.
        fixed: Value of each key that is set then.
    """

    key: str
    value: str
    space: dict[str, BaseDistribution]
    fixed: dict[str, Any]

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Say whether a trial with these values of keys is one of them."""
        return self.key in point and str(point[self.key]) == self.value


def branches_of(
    conditional_params: Mapping[str, Mapping[Any, Mapping[str, Any]]],
    *,
    known: Collection[str],
    fixed: Collection[str],
) -> tuple[Branch, ...]:
    """Read conditional search spaces.

    Args:
        conditional_params: The search space of some trials, below a key and its value in these.
        known: Keys that all trials have.
        fixed: Those of them that the command line fixes, also where a branch would set them.

    Raises:
        ValueError: If a trial does not have such a key by then.

    Examples:
        >>> (branch,) = branches_of({"x": {2: {"y": "range(0, 3)"}}}, known=["x"], fixed=[])
        >>> branch.holds({"x": 2}), branch.space
        (True, {'y': IntDistribution(high=2, log=False, low=0, step=1)})
    """
    keys = set(known)
    branches = []
    for key, cases in conditional_params.items():
        if key not in keys:
            raise ValueError(
                "hydra.sweeper.conditional_params must have keys that are swept or given before; "
                f"found {key}, and before it {', '.join(sorted(keys))}"
            )
        for value, params in cases.items():
            overrides = [f"{name}={given}" for name, given in params.items() if name not in fixed]
            space, values, others = create_params_from_overrides(overrides)
            if others:
                raise ValueError(
                    "hydra.sweeper.conditional_params must set or sweep keys; found " + ", ".join(others)
                )
            branches.append(Branch(key, str(value), space, values))
        keys |= {name for params in cases.values() for name in params}
    return tuple(branches)
