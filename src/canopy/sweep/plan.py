"""What a sweep is to do: its search space and options, read as the stock plugin does, and checked."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl, create_params_from_overrides
from omegaconf import DictConfig, ListConfig, OmegaConf
from optuna.distributions import BaseDistribution

# What samplers and pruners may be made of; custom search spaces are the user's own code.
WHITELIST = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*", "optuna.pruners.*")

Space = dict[str, BaseDistribution]
Direction = Literal["minimize", "maximize"]
# Of trials in which a key has a value: what else they sweep, and what they set.
Branch = tuple[str, str, Space, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep, in values that can be sent to other processes."""

    config: DictConfig
    options: DictConfig
    study_name: str
    storage: str
    directions: list[Direction]
    n_trials: int
    space: Space
    branches: list[Branch]
    # What all trials share, and overrides that are no `key=value`.
    fixed: dict[str, Any]
    fixed_overrides: list[str]
    warm_start: list[dict[str, Any]]
    # Upper bounds of results, by their keys in the run's record.
    bounds: dict[str, float]

    @classmethod
    def make(cls, arguments: Sequence[str], config: DictConfig) -> "Plan":
        """Read a sweep from the overrides of its command and the config that they compose."""
        options = config.hydra.sweeper
        _check_options(options)
        swept = [f"{key!s}={value}" for key, value in (options.params or {}).items()]
        space, fixed, fixed_overrides = create_params_from_overrides([*swept, *arguments])
        # The command line fixes what the config would sweep.
        space = {key: value for key, value in space.items() if key not in fixed}
        n_trials = options.n_trials
        if _is_grid(options.sampler):
            n_trials = min(n_trials, math.prod(map(len, _grid_of(space).values())))
        branches = _read_branches(options.conditional_params, {*space, *fixed}, fixed)
        spaces = space | {key: values for _, _, more, _ in branches for key, values in more.items()}
        # A list is a text in a search space.
        warm_start = [
            {k: f"[{','.join(map(str, v))}]" if isinstance(v, ListConfig) else v for k, v in point.items()}
            for point in options.warm_start
        ]
        for key, value in (item for point in warm_start for item in point.items()):
            if key not in {*spaces, *fixed}:
                # Optuna would ignore it.
                raise ValueError(f"hydra.sweeper.warm_start must have keys of {', '.join(spaces)}; got {key}")
            if key in spaces and not _is_in(spaces[key], value):
                raise ValueError(f"hydra.sweeper.warm_start must be within {spaces[key]}; got {key}={value}")
        return cls(
            config=config,
            options=options,
            study_name=options.study_name or Path(config.hydra.sweep.dir).name,
            storage=options.storage or f"sqlite:///{config.hydra.sweep.dir}/study.db",
            directions=_read_directions(config),
            n_trials=n_trials,
            space=space,
            branches=branches,
            fixed=fixed,
            fixed_overrides=fixed_overrides,
            warm_start=warm_start,
            bounds=dict(map(_parse_bound, options.constraints)),
        )

    def make_sampler(self, *, first: bool) -> optuna.samplers.BaseSampler:
        """Make the sampler of the first worker of a new study, or of another one."""
        node: dict[str, Any] = dict(self.options.sampler)
        # With the same seed another worker would draw the same points, unless the storage keeps the position.
        if not first and "seed" in node and not _is_grid(node) and "QMC" not in node["_target_"]:
            node["seed"] = None
        made = instantiate_part(node)
        sampler: optuna.samplers.BaseSampler = made(_grid_of(self.space)) if _is_grid(node) else made
        return sampler


def _is_in(space: BaseDistribution, value: Any) -> bool:
    try:
        return space._contains(space.to_internal_repr(value))  # noqa: SLF001
    except ValueError:
        return False


def instantiate_part(node: Any) -> Any:
    """Make a sampler or a pruner of its config."""
    with warnings.catch_warnings():
        # A sampler or pruner is chosen by name, and Optuna's version is pinned.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return instantiate(node, _execution_whitelist_=WHITELIST)


def _is_grid(sampler: Mapping[str, Any]) -> bool:
    return str(sampler.get("_target_", "")).endswith("GridSampler")


def _grid_of(space: Space) -> dict[str, list[Any]]:
    """List the values of each key for the grid sampler, which takes no intervals."""
    return {key: list(OptunaSweeperImpl._to_grid_sampler_choices(value)) for key, value in space.items()}  # noqa: SLF001


def _check_options(options: DictConfig) -> None:
    if "CmaEsSampler" in str(options.sampler):
        # The study may be from elsewhere.
        raise ValueError("The sampler must not unpickle what a study holds; got cmaes: choose tpe or gp")
    if options.conditional_params and _is_grid(options.sampler):
        raise ValueError("hydra.sweeper.conditional_params must have another sampler than grid; got grid")
    for key in ("n_jobs", "n_trials"):
        if options[key] < 1:
            raise ValueError(f"hydra.sweeper.{key} must be at least 1; got {options[key]}")
    if not 0 <= (rate := options.max_failure_rate) <= 1:
        raise ValueError(f"hydra.sweeper.max_failure_rate must be from 0 to 1; got {rate}")


def _read_directions(config: DictConfig) -> list[Direction]:
    given = config.hydra.sweeper.direction
    given = given if isinstance(given, ListConfig) else [given]
    # Texts, or members of the stock plugin's enumeration.
    directions = [getattr(item, "name", item) for item in given]
    mode = OmegaConf.select(config, "objective.mode")
    if mode and not OmegaConf.select(config, "objective.returns") and directions != [f"{mode}imize"]:
        raise ValueError(
            f"hydra.sweeper.direction must be that of objective.mode={mode}; got {', '.join(directions)}"
        )
    return directions


def _read_branches(conditional_params: DictConfig, known: set[str], fixed: dict[str, Any]) -> list[Branch]:
    """Read conditional search spaces, each below a key that is known by then and its value."""
    branches = []
    for key, cases in conditional_params.items():
        if key not in known:
            raise ValueError(
                f"hydra.sweeper.conditional_params must have keys of {', '.join(sorted(known))}; got {key!s}"
            )
        for value, params in cases.items():
            # What the command line fixes stays.
            overrides = [f"{name}={given}" for name, given in params.items() if name not in fixed]
            space, values, _ = create_params_from_overrides(overrides)
            branches.append((str(key), str(value), space, values))
        known = known.union(*cases.values())
    return branches


def _parse_bound(text: str) -> tuple[str, float]:
    try:
        key, bound = text.split("<=")
        return key.strip(), float(bound)
    except ValueError as error:
        raise ValueError(
            f"hydra.sweeper.constraints must be bounds such as training.n_parameters<=500000; got {text!r}"
        ) from error
