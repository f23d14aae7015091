"""Build the parts of a training that its config describes."""

from inspect import Parameter, signature
from typing import Any

from hydra.utils import get_object, instantiate
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    LearningRateFinder,
    ModelPruning,
    StochasticWeightAveraging,
)
from omegaconf import DictConfig, OmegaConf

from canopy.errors import MISTAKES, nearest_or_all

REFUSED_CALLBACKS = {
    BackboneFinetuning: "it needs a model with a backbone, which these nets do not have",
    BatchSizeFinder: "the run would not train as its config says; set data.batch_size, or sweep it",
    LearningRateFinder: "the optimiser and the schedule have their own rates; sweep model.optimizer.lr",
    ModelPruning: "its weights do not fit the net when they are loaded; use src/compress.py",
    StochasticWeightAveraging: (
        "its averaged weights are made after the best checkpoint was saved; use "
        "lightning.pytorch.callbacks.WeightAveraging or EMAWeightAveraging"
    ),
}


def build(key: str, config: DictConfig, **arguments: Any) -> Any:
    """Instantiate the part at a key of the config; `arguments` are what a partial object is called with.

    Raises:
        ValueError: If it has an option that its target does not take, or cannot be built.
    """
    try:
        made = instantiate(config)
        if arguments:
            # Libraries check those of a partial object late, if at all.
            check_options(key, config)
            made = made(**arguments)
    except MISTAKES:
        raise
    except Exception as error:
        if isinstance(error, TypeError):
            check_options(key, config)
        found = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        raise ValueError(f"{key} cannot be built as configured; got {found}") from error
    return made


def build_all(section: str, group: DictConfig | None, kind: type) -> dict[str, Any]:
    """Instantiate each entry of a config group, by its key in the config; an entry set to null is left out.

    Raises:
        ValueError: If an entry is not of the kind, cannot be built, or is one of `REFUSED_CALLBACKS`.
    """
    made: dict[str, Any] = {}
    for name, entry in (group or {}).items():
        if entry is None:
            continue
        key = f"{section}.{name!s}"
        if not OmegaConf.is_dict(entry) or "_target_" not in entry:
            raise ValueError(f"{key} must have a _target_, the class of a {kind.__name__}; got {entry}")
        item = made[key] = build(key, entry)
        if not isinstance(item, kind):
            raise ValueError(f"{key} must make a {kind.__name__}; got a {type(item).__name__}")
        for refused, reason in REFUSED_CALLBACKS.items():
            if isinstance(item, refused):
                raise ValueError(f"{key} must not be a {refused.__name__}: {reason}")
    return made


def check_options(key: str, config: Any) -> None:
    """Refuse options that a config's target does not take, and those of all configs in it."""
    if not OmegaConf.is_dict(config):
        return
    for name in config:
        check_options(f"{key}.{name!s}", config[name])
    if "_target_" not in config:
        return
    parameters = signature(get_object(config["_target_"])).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for option in map(str, config):
        if not option.startswith("_") and option not in parameters:
            raise ValueError(
                f"{key}.{option} must be an option of {config['_target_']}"
                f"{nearest_or_all(option, parameters)}"
            )
