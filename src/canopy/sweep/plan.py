"""What a sweep is to do: its search space and options, read as the stock plugin does, and checked."""

import functools
import math
import operator
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl, create_params_from_overrides
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution

# What samplers and pruners may be made of; custom search spaces are the user's own code.
WHITELIST = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*", "optuna.pruners.*")

Direction = Literal["minimize", "maximize"]
Space = dict[str, BaseDistribution]


@dataclass(frozen=True)
class Branch:
    """Keys that are swept (`space`) or set (`fixed`) only in trials in which `key` has the value `value`."""

    key: str
    value: str
    space: Space
    fixed: dict[str, Any]

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Say whether a trial with these values of keys is one of them."""
        return self.key in point and str(point[self.key]) == self.value


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep, in values that can be sent to other processes.

    Attributes:
        config: The composed config of the command.
        space: Distribution of each swept key.
        branches: What is swept only in some trials.
        fixed: Value of each key that all trials share.
        fixed_overrides: Overrides that are no `key=value`.
        warm_start: Points to try first.
        bounds: Upper bound of each result that has one, by its key in the run's record.
    """

    config: DictConfig
    study_name: str
    directions: tuple[Direction, ...]
    n_trials: int
    space: Space
    branches: tuple[Branch, ...]
    fixed: dict[str, Any]
    fixed_overrides: list[str]
    warm_start: tuple[dict[str, Any], ...]
    bounds: dict[str, float]

    @property
    def options(self) -> DictConfig:
        """The options of `CanopyOptunaSweeperConf`."""
        options: DictConfig = self.config.hydra.sweeper
        return options

    @classmethod
    def make(cls, arguments: Sequence[str], config: DictConfig) -> "Plan":
        """Read a sweep from the overrides of its command and the config that they compose.

        Raises:
            ValueError: If an option is out of range, or the direction is not that of the objective.
        """
        options = config.hydra.sweeper
        _check_options(options)
        swept = [f"{key!s}={value}" for key, value in (options.params or {}).items()]
        space, fixed, fixed_overrides = create_params_from_overrides([*swept, *arguments])
        # The command line fixes what the config would sweep.
        space = {key: value for key, value in space.items() if key not in fixed}
        n_trials = options.n_trials
        if _is_grid(options.sampler):
            n_trials = min(n_trials, math.prod(map(len, grid_of(space).values())))
        branches = _read_branches(options.conditional_params, known={*space, *fixed}, fixed=fixed)
        warm_start = tuple(map(_read_point, options.warm_start))
        anywhere = functools.reduce(operator.or_, (branch.space for branch in branches), space)
        _check_points(warm_start, anywhere, fixed)
        return cls(
            config=config,
            study_name=options.study_name or Path(config.hydra.sweep.dir).name,
            directions=_read_directions(config),
            n_trials=n_trials,
            space=space,
            branches=branches,
            fixed=fixed,
            fixed_overrides=fixed_overrides,
            warm_start=warm_start,
            bounds=dict(map(parse_bound, options.constraints)),
        )

    def make_sampler(self, *, first: bool) -> optuna.samplers.BaseSampler:
        """Make the sampler.

        Args:
            first: Whether for the first worker of a new study. Only that one takes the configured seed, as
                the stock plugin does: with the same seed, another one, or one that resumes later, would draw
                the same points again. Samplers that keep their position in the storage keep their seed.
        """
        node: dict[str, Any] = dict(self.options.sampler)
        if not first and "seed" in node and not _is_grid(node) and "QMC" not in node["_target_"]:
            node["seed"] = None
        made: Any = _instantiate(node)
        if isinstance(made, functools.partial):
            made = made(grid_of(self.space))
        assert isinstance(made, optuna.samplers.BaseSampler)
        return made


def make_pruner(node: DictConfig | None) -> optuna.pruners.BasePruner:
    """Make a pruner of its config; without one, nothing is pruned."""
    pruner: optuna.pruners.BasePruner = _instantiate(node) if node else optuna.pruners.NopPruner()
    return pruner


def monitor_of(config: DictConfig) -> list[str]:
    """Name what a sweep optimizes: results in a run's record, or a logged metric."""
    returns = OmegaConf.select(config, "objective.returns") or OmegaConf.select(config, "objective.monitor")
    return [returns] if isinstance(returns, str) else list(returns or ())


def parse_bound(text: str) -> tuple[str, float]:
    """Read an upper bound.

    Examples:
        >>> parse_bound("training.n_parameters <= 5e5")
        ('training.n_parameters', 500000.0)
    """
    try:
        key, bound = text.split("<=")
        return key.strip(), float(bound)
    except ValueError as error:
        raise ValueError(
            f"hydra.sweeper.constraints must be bounds such as training.n_parameters<=500000; got {text!r}"
        ) from error


def grid_of(space: Space) -> dict[str, list[Any]]:
    """List the values of each key for the grid sampler, which takes no intervals."""
    return {key: list(OptunaSweeperImpl._to_grid_sampler_choices(value)) for key, value in space.items()}  # noqa: SLF001


def _instantiate(node: Any) -> Any:
    with warnings.catch_warnings():
        # A sampler or pruner is chosen by name, and Optuna's version is pinned.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return instantiate(node, _execution_whitelist_=WHITELIST)


def _is_grid(sampler: Mapping[str, Any]) -> bool:
    return str(sampler.get("_target_", "")).endswith("GridSampler")


def _check_options(options: DictConfig) -> None:
    if str(options.sampler.get("_target_", "")).endswith("CmaEsSampler"):
        # The study may be from elsewhere.
        raise ValueError(
            "hydra/sweeper/sampler must execute nothing that the study holds; got cmaes, which "
            "unpickles its state from there: choose tpe or gp"
        )
    if options.conditional_params and _is_grid(options.sampler):
        raise ValueError("hydra.sweeper.conditional_params needs another sampler than grid")
    for name in ("n_jobs", "n_trials"):
        if options[name] < 1:
            raise ValueError(f"hydra.sweeper.{name} must be at least 1; got {options[name]}")
    if not 0 <= options.max_failure_rate <= 1:
        raise ValueError(
            f"hydra.sweeper.max_failure_rate must be from 0 to 1; got {options.max_failure_rate}"
        )


def _read_directions(config: DictConfig) -> tuple[Direction, ...]:
    given: Any = config.hydra.sweeper.direction
    several: Any = [given] if isinstance(given, str) or not isinstance(given, Sequence) else given
    directions: tuple[Direction, ...] = tuple(getattr(item, "name", item) for item in several)
    mode = OmegaConf.select(config, "objective.mode")
    is_one = OmegaConf.select(config, "objective.returns") is None
    if mode and is_one and directions != ({"max": "maximize", "min": "minimize"}[mode],):
        raise ValueError(
            f"hydra.sweeper.direction must be that of objective.mode={mode}; got "
            f"{', '.join(directions)}: set hydra.sweeper.direction"
        )
    return directions


def _read_branches(
    conditional_params: Mapping[str, Mapping[Any, Mapping[str, Any]]],
    *,
    known: set[str],
    fixed: Mapping[str, Any],
) -> tuple[Branch, ...]:
    """Read conditional search spaces, each below a key that is known by then and its value."""
    branches = []
    for key, cases in conditional_params.items():
        if key not in known:
            raise ValueError(
                "hydra.sweeper.conditional_params must have keys that are swept or given before; "
                f"got {key}, and before it {', '.join(sorted(known))}"
            )
        for value, params in cases.items():
            # What the command line fixes stays.
            overrides = [f"{name}={given}" for name, given in params.items() if name not in fixed]
            space, values, _ = create_params_from_overrides(overrides)
            branches.append(Branch(key, str(value), space, values))
        known = known.union(*cases.values())
    return tuple(branches)


def _read_point(node: Mapping[Any, Any]) -> dict[str, Any]:
    """Read a point of `warm_start`; lists are texts in search spaces."""
    return {
        str(key): f"[{','.join(map(str, value))}]"
        if isinstance(value, Sequence) and not isinstance(value, str)
        else value
        for key, value in node.items()
    }


def _check_points(points: Sequence[Mapping[str, Any]], space: Space, fixed: Mapping[str, Any]) -> None:
    """Refuse points that the sampler could not draw, which Optuna would silently replace."""
    for key, value in ((key, value) for point in points for key, value in point.items() if key not in fixed):
        if key not in space:
            raise ValueError(f"hydra.sweeper.warm_start must have swept keys, {', '.join(space)}; got {key}")
        try:
            is_known = space[key]._contains(space[key].to_internal_repr(value))  # noqa: SLF001
        except ValueError:
            is_known = False
        if not is_known:
            raise ValueError(f"hydra.sweeper.warm_start must be within {key}={space[key]}; got {value!r}")
