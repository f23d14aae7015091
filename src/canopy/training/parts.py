"""Build the parts of a training that its config describes; report what is wrong with one by its key."""

import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    LearningRateFinder,
    ModelPruning,
    StochasticWeightAveraging,
)
from omegaconf import DictConfig, OmegaConf

from canopy.errors import MISTAKES, nearest_or_all, option_names
from canopy.names import nearest

# What an object raises that is built with a wrong option or value, or whose package is missing.
BUILD_ERRORS = (
    *(TypeError, AttributeError, RuntimeError, AssertionError),
    *(ImportError, InstantiationException),
)

HINTS = {
    "No supported gpu": "trainer=cpu trains without one",
    "multiple progress bar": "callbacks.progress_bar=null leaves out the other",
}
REFUSED_CALLBACKS = {
    BackboneFinetuning: "it needs a model with a backbone, which these nets do not have",
    BatchSizeFinder: (
        "the run would train with another data.batch_size than its config says, and than its learning rate "
        "was chosen for; set data.batch_size, or sweep it"
    ),
    LearningRateFinder: "the optimiser and the schedule have their own rates; sweep model.optimizer.lr",
    ModelPruning: "its weights do not fit the net when they are loaded; use src/compress.py",
    StochasticWeightAveraging: (
        "its averaged weights are made after the best checkpoint was saved; use "
        "lightning.pytorch.callbacks.WeightAveraging or EMAWeightAveraging"
    ),
}


def build(key: str, config: DictConfig, **arguments: Any) -> Any:
    """Instantiate what a config describes.

    Args:
        key: Key of the config.
        config: With a `_target_`.
        arguments: What a partial object is called with.

    Raises:
        ValueError: If it cannot be built.
    """
    with building(key, config):
        made = instantiate(config)
        if not arguments:
            return made
        check_options(key, config)
        return made(**arguments)


def build_all(section: str, group: DictConfig | None, kind: type) -> dict[str, Any]:
    """Instantiate each entry of a config group that is a mapping of names to objects.

    Args:
        section: Key of the group in the config.
        group: Name to config; an entry set to null is left out.
        kind: Class that each must be of.

    Returns:
        The objects by their keys in the config.

    Raises:
        ValueError: If an entry makes something else, cannot be built, or is one of `REFUSED_CALLBACKS`.
    """
    made: dict[str, Any] = {}
    for name, entry in (group or {}).items():
        if entry is None:
            continue
        key = f"{section}.{name!s}"
        if not OmegaConf.is_dict(entry) or "_target_" not in entry:
            raise ValueError(f"{key} must have a _target_, the class of a {kind.__name__}; got {entry}")
        item = build(key, entry)
        if not isinstance(item, kind):
            raise ValueError(f"{key} must make a {kind.__name__}; got a {type(item).__name__}")
        for refused, reason in REFUSED_CALLBACKS.items():
            if isinstance(item, refused):
                raise ValueError(f"{key} must not be a {refused.__name__}: {reason}")
        made[key] = item
    return made


@contextmanager
def building(key: str, config: Any) -> Iterator[None]:
    """Report which key of the config cannot be built, and the option that may be meant.

    Args:
        key: Dotted key of what the block builds.
        config: The config below it.

    Raises:
        ValueError: In place of what a library raises that is given a wrong option or value, or is missing.
    """
    try:
        yield
    except Exception as error:
        # What a library's class raises is reported as a mistake of the config; what one of ours raises may
        # be a defect.
        is_foreign = not _target(config).startswith("canopy.") and not isinstance(error, MISTAKES)
        if not isinstance(error, BUILD_ERRORS) and not is_foreign:
            raise
        if isinstance(error, InstantiationException) and "whitelist" in str(error):
            raise
        cause = error.__cause__ or error if isinstance(error, InstantiationException) else error
        text = "\n".join([str(cause), str(error), *getattr(error, "__notes__", [])])
        # Hydra names the node that failed, which may be an inner one.
        if (match := re.search(r"full_key: (\S+)", text)) and match[1].startswith(f"{key}."):
            config, key = OmegaConf.select(config, match[1].removeprefix(f"{key}.")), match[1]
        if match := re.search(r"unexpected keyword argument '(\w+)'", text):
            raise _unknown_option(key, config, match[1]) from error
        module, _, name = _target(config).rpartition(".")
        hint = next((f"; {hint}" for said, hint in HINTS.items() if said in text), "")
        if module in sys.modules and not hasattr(sys.modules[module], name):
            hint = nearest(name, dir(sys.modules[module]))
        raise ValueError(f"{key} cannot be built as configured; got {one_line(cause)}{hint}") from error


def _target(config: Any) -> str:
    """Name what a config calls; of none it may be ours."""
    return str(config.get("_target_", "canopy.")) if OmegaConf.is_dict(config) else "canopy."


def one_line(error: BaseException) -> str:
    """Write an error's type and the first line of its message."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(": ")


def check_options(key: str, config: Any) -> None:
    """Refuse options that a config's target does not take, and those of all configs in it.

    Of a partial object libraries check them late, if at all.

    Args:
        key: Key of the config.
        config: A config whose targets may be called.

    Raises:
        ValueError: If there is one.
    """
    if not OmegaConf.is_dict(config):
        return
    for name in config:
        check_options(f"{key}.{name!s}", config[name])
    if "_target_" not in config:
        return
    parameters = signature(get_object(config["_target_"])).parameters.values()
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return
    for option in config:
        if not str(option).startswith("_") and option not in {parameter.name for parameter in parameters}:
            raise _unknown_option(key, config, str(option))


def _unknown_option(key: str, config: Any, option: str) -> ValueError:
    names = option_names(get_object(config["_target_"]))
    return ValueError(
        f"{key}.{option} must be an option of {config['_target_']}{nearest_or_all(option, names)}"
    )


def find_part(error: BaseException, parts: Mapping[str, object]) -> str | None:
    """Find the key of the part, of a class that is not ours, in whose code an error was raised.

    Args:
        error: The error.
        parts: Objects by their keys in the config.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        for key, part in parts.items():
            if part is owner and not type(part).__module__.startswith("canopy."):
                return key
    return None
