"""Check the config of a training, and build the parts that it describes."""

from inspect import Parameter, signature
from typing import Any

from hydra.utils import get_object, instantiate
from lightning.pytorch import callbacks
from omegaconf import DictConfig, ListConfig, OmegaConf

from canopy.errors import MISTAKES, nearest_or_all
from canopy.metrics import mode_of
from canopy.schema.tensors import Schema
from canopy.tasks.task import task_of

# Key: kind of the number, its least value. Where a list is allowed, each of its items.
NUMBERS: dict[str, tuple[type, float]] = {
    "seed": (int, 0),
    "n_threads": (int, 1),
    "trainer.max_epochs": (int, -1),
    "trainer.num_nodes": (int, 1),
    "trainer.log_every_n_steps": (int, 0),
    "trainer.gradient_clip_val": (float, 0),
    "data.batch_size": (int, 1),
    "data.eval_batch_size": (int, 1),
    "data.n_workers": (int, 0),
    "data.memory_mib": (int, 1),
    "model.optimizer.lr": (float, 0),
    "model.net.hidden": (int, 1),
    "model.loss.label_smoothing": (float, 0),
    "model.loss.gamma": (float, 0),
    "callbacks.early_stopping.patience": (int, 0),
    "callbacks.confusion_matrix.every_n_validations": (int, 1),
    "callbacks.histograms.every_n_steps": (int, 1),
    "callbacks.resume_checkpoint.every_n_seconds": (float, 0),
}
# What Lightning's Trainer offers and a run does not.
UNSUPPORTED = (
    ("trainer.overfit_batches", 0, "use debug=overfit"),
    ("trainer.use_distributed_sampler", False, "the loaders share the rows among the devices themselves"),
)
REFUSED_CALLBACKS = {
    callbacks.BackboneFinetuning: "it needs a model with a backbone, which these nets do not have",
    callbacks.BatchSizeFinder: "the run would not train as its config says; set data.batch_size, or sweep it",
    callbacks.LearningRateFinder: "optimiser and schedule have their own rates; sweep model.optimizer.lr",
    callbacks.ModelPruning: "its weights do not fit the net when they are loaded; use src/compress.py",
    callbacks.StochasticWeightAveraging: "it averages after the best epoch; use EMAWeightAveraging",
}


def check_training_config(cfg: DictConfig) -> None:
    """Refuse a number out of range or an unsupported option, which libraries report late or not at all."""
    for key, (kind, least) in NUMBERS.items():
        value = OmegaConf.select(cfg, key)
        kinds = {int, kind}
        for number in value if isinstance(value, ListConfig) else [value]:
            if number is not None and not (type(number) in kinds and number >= least):
                name = "an integer" if kind is int else "a number"
                raise ValueError(f"{key} must be {name} >= {least:g}; found {value!r}")
    every, last = (
        OmegaConf.select(cfg, f"trainer.{key}") for key in ("check_val_every_n_epoch", "max_epochs")
    )
    if every and last and 0 < last < every:
        raise ValueError(
            f"trainer.check_val_every_n_epoch must be at most trainer.max_epochs; got {every} and {last}"
        )
    for key, only, reason in UNSUPPORTED:
        if (value := OmegaConf.select(cfg, key)) not in (None, only):
            raise ValueError(f"{key} must be {only}; got {value}: {reason}")


def check_monitors(cfg: DictConfig, schema: Schema) -> None:
    """Refuse a metric of the objective or of a callback that validation does not have."""
    configured: Any = dict.fromkeys(map(str, OmegaConf.select(cfg, "model.metrics") or ()))
    names = [f"val/{name}" for name in task_of(schema).metric_names(configured)]
    for key in ("objective", *(f"callbacks.{name}" for name in cfg.callbacks or ())):
        monitor = OmegaConf.select(cfg, f"{key}.monitor")
        if isinstance(monitor, str) and monitor.startswith("val/") and monitor not in names:
            hint = nearest_or_all(monitor, names)
            raise ValueError(f"{key}.monitor must be a metric of validation; got {monitor!r}{hint}")
        mode, name = OmegaConf.select(cfg, f"{key}.mode"), str(monitor).removeprefix("val/")
        is_known = f"val/{name}" in names and name not in configured
        if mode is not None and is_known and mode != (best := mode_of(name)):
            raise ValueError(f"{key}.mode must be {best} for {monitor}; got {mode}")


def build(key: str, config: DictConfig, **arguments: Any) -> Any:
    """Instantiate the part at a key of the config; `arguments` are what a partial object is called with."""
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
    """Instantiate each entry of a config group but those set to null, by its key in the config."""
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
            hint = nearest_or_all(option, parameters)
            raise ValueError(f"{key}.{option} must be an option of {config['_target_']}{hint}")
