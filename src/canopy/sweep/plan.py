"""What a sweep is to do, checked, and the study that keeps what has been done of it."""

import functools
import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import optuna
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl, create_params_from_overrides
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution

from canopy.sweep.branches import Branch, branches_of
from canopy.sweep.constraints import constraints_of, parse_bound

# What samplers and pruners may be made of; custom search spaces are the user's own code.
WHITELIST = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*", "optuna.pruners.*")

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep, in values that can be sent to other processes.

    Attributes:
        space: Distribution of each swept key.
        branches: What is swept only in some trials.
        fixed: Value of each key that all trials share.
        fixed_overrides: Overrides that are no `key=value`.
        sampler: Config of the sampler.
        pruner: Config of the pruner.
        directions: `minimize` or `maximize`, for each objective.
        storage: URL of the storage; None for a file in the sweep's folder.
        config: The composed config of the command, for a custom search space.
    """

    study_name: str
    storage: str | None
    directions: tuple[Direction, ...]
    monitor: tuple[str, ...]
    sampler: DictConfig
    pruner: DictConfig | None
    space: dict[str, BaseDistribution]
    branches: tuple[Branch, ...]
    fixed: dict[str, Any]
    fixed_overrides: list[str]
    custom_search_space: str | None
    n_trials: int
    n_jobs: int
    timeout: float | None
    max_failure_rate: float
    max_retries: int
    warm_start: tuple[dict[str, Any], ...]
    warm_start_studies: tuple[str, ...]
    constraints: dict[str, float]
    config: DictConfig

    @classmethod
    def make(cls, arguments: Sequence[str], options: Mapping[str, Any], config: DictConfig) -> "Plan":
        """Read the search space as the stock plugin does, and check the options.

        Raises:
            ValueError: If an option is out of range, or the direction is not that of the objective.
        """
        params = options["params"] or {}
        space, fixed, fixed_overrides = create_params_from_overrides(
            [*(f"{key!s}={value}" for key, value in params.items()), *arguments]
        )
        # The command line fixes what the config would sweep.
        space = {key: value for key, value in space.items() if key not in fixed}
        n_trials = options["n_trials"]
        sampler = options["sampler"]
        if _is_grid(sampler):
            if options["conditional_params"]:
                raise ValueError("hydra.sweeper.conditional_params needs another sampler than grid")
            n_trials = min(n_trials, math.prod(map(len, grid_of(space).values())))
        plan = cls(
            study_name=options["study_name"] or Path(config.hydra.sweep.dir).name,
            storage=options["storage"],
            directions=_directions(options["direction"]),
            monitor=_monitor(config),
            sampler=sampler,
            pruner=options["pruner"],
            space=space,
            branches=branches_of(options["conditional_params"], known={**space, **fixed}, fixed=fixed),
            fixed=fixed,
            fixed_overrides=fixed_overrides,
            custom_search_space=options["custom_search_space"],
            n_trials=n_trials,
            n_jobs=options["n_jobs"],
            timeout=options["timeout"],
            max_failure_rate=options["max_failure_rate"],
            max_retries=options["max_retries"],
            warm_start=tuple(map(_point_of, options["warm_start"])),
            warm_start_studies=tuple(options["warm_start_studies"]),
            constraints=dict(map(parse_bound, options["constraints"])),
            config=config,
        )
        plan.check()
        return plan

    def check(self) -> None:
        """Refuse options that are out of range."""
        if str(self.sampler.get("_target_", "")).endswith("CmaEsSampler"):
            # The study may be from elsewhere.
            raise ValueError(
                "hydra/sweeper/sampler must execute nothing that the study holds; found cmaes, which "
                "unpickles its state from there: choose tpe or gp"
            )
        if self.n_jobs < 1:
            raise ValueError(f"hydra.sweeper.n_jobs must be at least 1; found {self.n_jobs}")
        if self.n_trials < 1:
            raise ValueError(f"hydra.sweeper.n_trials must be at least 1; found {self.n_trials}")
        if not 0 <= self.max_failure_rate <= 1:
            raise ValueError(
                f"hydra.sweeper.max_failure_rate must be from 0 to 1; found {self.max_failure_rate}"
            )
        space = dict(self.space)
        for branch in self.branches:
            space |= branch.space
        for point in self.warm_start:
            check_point(point, space, fixed=self.fixed)
        mode = OmegaConf.select(self.config, "objective.mode")
        plain = OmegaConf.select(self.config, "objective.returns") is None
        if mode and plain and self.directions != ({"max": "maximize", "min": "minimize"}[mode],):
            raise ValueError(
                f"hydra.sweeper.direction must be that of objective.mode={mode}; found "
                f"{', '.join(self.directions)}: set hydra.sweeper.direction"
            )

    def make_sampler(self, *, first: bool) -> optuna.samplers.BaseSampler:
        """Make the sampler.

        Args:
            first: Whether for the first worker of a new study. Only that one takes the configured seed, as
                the stock plugin does: with the same seed, another one, or one that resumes later, would draw
                the same points again. Samplers that keep their position in the storage keep their seed.
        """
        node: dict[str, Any] = dict(self.sampler)
        if not first and "seed" in node and not _is_grid(node) and "QMC" not in node["_target_"]:
            node["seed"] = None
        objects: dict[str, Any] = {}
        if self.constraints and "constraints_func" in node:
            objects["constraints_func"] = functools.partial(constraints_of, n=len(self.constraints))
        made: Any = _instantiate(node, **objects)
        if isinstance(made, functools.partial):
            made = made(grid_of(self.space))
        assert isinstance(made, optuna.samplers.BaseSampler)
        return made

    def make_pruner(self) -> optuna.pruners.BasePruner:
        """Make the pruner."""
        return make_pruner(self.pruner)


def make_pruner(node: DictConfig | None) -> optuna.pruners.BasePruner:
    """Make a pruner of its config; without one, nothing is pruned."""
    if node is None:
        return optuna.pruners.NopPruner()
    pruner: optuna.pruners.BasePruner = _instantiate(node)
    return pruner


def _instantiate(node: Any, **objects: Any) -> Any:
    with warnings.catch_warnings():
        # That Optuna may change it: a sampler or pruner is chosen by name, and Optuna's version is pinned.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return instantiate(node, _execution_whitelist_=WHITELIST, **objects)


def check_point(
    point: Mapping[str, Any], space: Mapping[str, BaseDistribution], *, fixed: Collection[str]
) -> None:
    """Refuse a known point that the sampler could not draw, which Optuna would silently replace.

    Raises:
        ValueError: If a key is not swept, or its value not in its range.
    """
    for key, value in point.items():
        if key in fixed:
            continue
        if key not in space:
            raise ValueError(
                f"hydra.sweeper.warm_start must have swept keys, {', '.join(space)}; found {key}"
            )
        try:
            is_known = space[key]._contains(space[key].to_internal_repr(value))  # noqa: SLF001
        except ValueError:
            is_known = False
        if not is_known:
            raise ValueError(f"hydra.sweeper.warm_start must be within {key}={space[key]}; found {value!r}")


def _point_of(node: DictConfig) -> dict[str, Any]:
    """Read a known point; lists are texts in search spaces."""
    return {
        str(key): f"[{','.join(map(str, value))}]"
        if isinstance(value, Sequence) and not isinstance(value, str)
        else value
        for key, value in node.items()
    }


def grid_of(space: Mapping[str, BaseDistribution]) -> dict[str, list[Any]]:
    """List the values of each key for the grid sampler.

    Raises:
        ValueError: If a key can take any value of an interval.
    """
    return {key: list(OptunaSweeperImpl._to_grid_sampler_choices(value)) for key, value in space.items()}  # noqa: SLF001


def _is_grid(sampler: Mapping[str, Any]) -> bool:
    return str(sampler.get("_target_", "")).endswith("GridSampler")


def _directions(direction: Any) -> tuple[Direction, ...]:
    given = direction if isinstance(direction, Sequence) and not isinstance(direction, str) else [direction]
    return tuple(cast(Direction, item if isinstance(item, str) else item.name) for item in given)


def _monitor(config: DictConfig) -> tuple[str, ...]:
    returns = OmegaConf.select(config, "objective.returns")
    if returns is not None:
        return (returns,) if isinstance(returns, str) else tuple(returns)
    monitor = OmegaConf.select(config, "objective.monitor")
    return () if monitor is None else (monitor,)
