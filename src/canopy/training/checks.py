"""What a training config must hold before anything is built of it; libraries report it late or not at all."""

import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any

import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import get_object
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    LearningRateFinder,
    ModelPruning,
    StochasticWeightAveraging,
)
from omegaconf import DictConfig, ListConfig, OmegaConf

from canopy.errors import MISTAKES, nearest_or_all, option_names
from canopy.names import nearest
from canopy.tasks.scores import Scores

# Key: kind of the number, its least value. Where a list is allowed, each of its items.
NUMBERS: dict[str, tuple[type, float]] = {
    "seed": (int, 0),
    "n_threads": (int, 1),
    "trainer.max_epochs": (int, -1),
    "trainer.log_every_n_steps": (int, 0),
    "trainer.gradient_clip_val": (float, 0),
    "data.batch_size": (int, 1),
    "data.eval_batch_size": (int, 1),
    "data.n_workers": (int, 0),
    "model.optimizer.lr": (float, 0),
    "model.net.hidden": (int, 1),
    "model.loss.label_smoothing": (float, 0),
    "callbacks.early_stopping.patience": (int, 0),
}
KINDS = {int: "an integer", float: "a number"}

# What an object raises that is built with a wrong option or value, or whose package is missing.
BUILD_ERRORS = (
    *(TypeError, AttributeError, RuntimeError, AssertionError),
    *(ImportError, InstantiationException),
)

# What Lightning's Trainer offers and a run does not.
UNSUPPORTED = (
    ("trainer.overfit_batches", 0, "use debug=overfit"),
    ("trainer.num_nodes", 1, "a run trains on the devices of one machine"),
    ("trainer.use_distributed_sampler", False, "the loaders share the rows among the devices themselves"),
)
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


def check_training_config(cfg: DictConfig) -> None:
    """Refuse a config with a number out of range, or an option of the Trainer that is not supported.

    Args:
        cfg: The composed config of `configs/train.yaml`.

    Raises:
        ValueError: If there is one.

    Examples:
        >>> check_training_config(OmegaConf.create({"data": {"batch_size": 0}}))
        Traceback (most recent call last):
        ...
        ValueError: data.batch_size must be an integer >= 1; found 0
    """
    for key, (kind, least) in NUMBERS.items():
        value = OmegaConf.select(cfg, key)
        for number in value if isinstance(value, ListConfig) else [value]:
            if number is not None and not _is_number(number, kind, least):
                found = list(value) if isinstance(value, ListConfig) else value
                raise ValueError(f"{key} must be {KINDS[kind]} >= {least:g}; found {found!r}")
    for key, value, reason in UNSUPPORTED:
        if OmegaConf.select(cfg, key) not in (None, value):
            raise ValueError(f"{key} must be {value}; got {OmegaConf.select(cfg, key)}: {reason}")


def check_monitors(cfg: DictConfig, class_names: Sequence[str]) -> None:
    """Refuse a metric that validation does not have, before an epoch is trained.

    Args:
        cfg: The composed config, whose objective and callbacks may name metrics.
        class_names: Names of the classes.

    Raises:
        ValueError: If there is no such metric.
    """
    confusion = np.eye(len(class_names), dtype=np.int64)
    further = dict.fromkeys(map(str, OmegaConf.select(cfg, "model.metrics") or ()), 0.0)
    scores = Scores(class_names=tuple(class_names), confusion=confusion, nll=0.0, ece=0.0, further=further)
    names = [f"val/{name}" for name in scores.summary()]
    monitors = {
        f"callbacks.{name}.monitor": OmegaConf.select(cfg, f"callbacks.{name}.monitor")
        for name in cfg.callbacks or ()
    }
    for key, monitor in {"objective.monitor": cfg.objective.monitor, **monitors}.items():
        if isinstance(monitor, str) and monitor.startswith("val/") and monitor not in names:
            raise ValueError(
                f"{key} must be a metric of validation; got {monitor!r}{nearest_or_all(monitor, names)}"
            )


def check_callback(key: str, callback: Any) -> None:
    """Refuse a callback that would change what the config says or leave a run that cannot be used.

    Args:
        key: Its key in the config.
        callback: The callback.

    Raises:
        ValueError: If it is one of `REFUSED_CALLBACKS`.
    """
    for kind, reason in REFUSED_CALLBACKS.items():
        if isinstance(callback, kind):
            raise ValueError(f"{key} must not be a {kind.__name__}: {reason}")


def _is_number(value: Any, kind: type, least: float) -> bool:
    kinds = (int,) if kind is int else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and value >= least


@contextmanager
def building(key: str, config: Any) -> Iterator[None]:
    """Name the key of the config that cannot be built as it is, and the option that may be meant.

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
        hint = "; trainer=cpu trains without one" if "No supported gpu" in text else ""
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
    """Find in whose code an error was raised.

    Args:
        error: The error.
        parts: Objects of a run by their keys in the config.

    Returns:
        The key of the object whose method is in the error's traceback, None if there is none.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        for key, part in parts.items():
            if part is owner:
                return key
    return None
