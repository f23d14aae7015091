"""Build a run from its config: data, model, callbacks, loggers, Trainer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from omegaconf import DictConfig, OmegaConf

from canopy.data.datamodule import TensorDataModule
from canopy.errors import MISTAKES
from canopy.training.callbacks.hyperparameters import HyperparameterLog
from canopy.training.callbacks.resume_checkpoint import TrainingStopped
from canopy.training.checks import (
    building,
    check_callback,
    check_monitors,
    check_options,
    find_part,
    one_line,
)
from canopy.training.classifier import Classifier
from canopy.training.threads import limit_threads


@dataclass(frozen=True, kw_only=True)
class Run:
    """The parts of a run, as its config describes them; its callbacks and loggers by their keys there."""

    data: TensorDataModule
    model: Classifier
    trainer: Trainer
    callbacks: dict[str, Callback]
    loggers: dict[str, Logger]

    def fit(self, checkpoint: Path | None) -> None:
        """Train, from a checkpoint where there is one.

        Raises:
            ValueError: If a callback or a logger fails that is not ours.
        """
        try:
            if checkpoint is None:
                self.model.fit_trees(self.data)
            self.trainer.fit(self.model, datamodule=self.data, ckpt_path=checkpoint, weights_only=True)
        except (*MISTAKES, TrainingStopped):
            raise
        except Exception as error:
            parts = {**self.callbacks, **self.loggers}.items()
            # An error in ours is a defect of ours.
            foreign = {key: part for key, part in parts if not type(part).__module__.startswith("canopy.")}
            key = find_part(error, foreign)
            if key is None:
                raise
            raise ValueError(f"{key} failed; got {one_line(error)}") from error


def build_run(cfg: DictConfig) -> Run:
    """Make the data module, the model and the Trainer with its callbacks and loggers.

    Args:
        cfg: Config with the groups `data`, `model`, `trainer`, `callbacks` and `logger`.

    Returns:
        The run, ready for `fit`, `validate` or `test`.
    """
    seed_everything(cfg.seed, workers=True, verbose=False)
    with building("data", cfg.data):
        data: TensorDataModule = instantiate(cfg.data)
    check_monitors(cfg, data.schema.class_names)
    with building("model", cfg.model):
        make_model = instantiate(cfg.model)
        check_options("model", cfg.model)
        model: Classifier = make_model(schema=data.schema)
    loggers = instantiate_all("logger", cfg.logger, Logger)
    callbacks = instantiate_all("callbacks", cfg.callbacks, Callback)
    if not loggers:
        # It has nowhere to write, which Lightning takes for a mistake.
        callbacks = {
            key: item for key, item in callbacks.items() if not isinstance(item, LearningRateMonitor)
        }
    with building("trainer", cfg.trainer):
        trainer: Trainer = instantiate(cfg.trainer)(
            callbacks=[*callbacks.values(), HyperparameterLog(cfg)], logger=[*loggers.values()]
        )
    limit_threads(trainer.num_devices, cfg.get("n_threads"))
    return Run(data=data, model=model, trainer=trainer, callbacks=callbacks, loggers=loggers)


def instantiate_all(section: str, group: DictConfig | None, kind: type) -> dict[str, Any]:
    """Instantiate each entry of a config group that is a mapping of names to objects.

    Args:
        section: Key of the group in the config.
        group: Name to config; an entry set to null is left out.
        kind: What each must be.

    Returns:
        The objects by their keys in the config.

    Raises:
        ValueError: If an entry makes something else, cannot be built, or must not be in a run.
    """
    made: dict[str, Any] = {}
    for name, entry in (group or {}).items():
        if entry is None:
            continue
        key = f"{section}.{name!s}"
        if not OmegaConf.is_dict(entry) or "_target_" not in entry:
            raise ValueError(f"{key} must have a _target_, the class of a {kind.__name__}; got {entry}")
        with building(key, entry):
            item = instantiate(entry)
        if not isinstance(item, kind):
            raise ValueError(f"{key} must make a {kind.__name__}; got a {type(item).__name__}")
        check_callback(key, item)
        made[key] = item
    return made


def check_processes(trainer: Trainer, *, refit: bool = False) -> None:
    """Refuse a strategy that starts its processes otherwise, and a multirun whose jobs would need several.

    Raises:
        ValueError: If there is one: processes of a multirun's job would run the whole multirun again.
    """
    launcher = trainer.strategy.launcher
    if launcher is not None and not isinstance(launcher, _SubprocessScriptLauncher):
        raise ValueError(
            "trainer.strategy must be one that starts its processes as commands; got one that forks or "
            "spawns them: use trainer.strategy=ddp"
        )
    if trainer.world_size > 1 and refit:
        raise ValueError(
            f"A run with refit=true must train in one process; got {trainer.world_size}: set "
            "trainer.devices=1 or refit=false"
        )
    if trainer.world_size > 1 and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ValueError(
            f"A run of a multirun must train in one process; found {trainer.world_size}: set "
            "trainer.devices=1, or start the runs one by one"
        )
