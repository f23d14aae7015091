"""Train a net: data, model, loggers, callbacks, Trainer, fit; what surrounds it is in `canopy.runs`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lightning import Callback, Trainer, seed_everything
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from canopy.data.datamodule import TensorDataModule
from canopy.training.callbacks.hyperparameters import HyperparameterLog
from canopy.training.callbacks.member_selection import MemberSelection
from canopy.training.model import TabularModel
from canopy.training.parts import build, build_all, check_monitors
from canopy.training.threads import limit_threads

Kind = TypeVar("Kind", bound=Callback)


def prepare(cfg: DictConfig, *further: Callback) -> "Training":
    """Make what a training consists of as its config says, with further callbacks; `Training.fit` trains."""
    seed_everything(cfg.seed, workers=True, verbose=False)
    data: TensorDataModule = build("data", cfg.data)
    check_monitors(cfg, data.schema)
    model: TabularModel = build("model", cfg.model, schema=data.schema)
    loggers = build_all("logger", cfg.logger, Logger)
    callbacks = [*build_all("callbacks", cfg.callbacks, Callback).values(), *further, HyperparameterLog(cfg)]
    check_memory(data, model, callbacks)
    if not loggers:
        # It has nowhere to write, which Lightning reports as an error.
        callbacks = [made for made in callbacks if not isinstance(made, LearningRateMonitor)]
    trainer: Trainer = build("trainer", cfg.trainer, callbacks=callbacks, logger=[*loggers.values()])
    environment = trainer._accelerator_connector.cluster_environment  # noqa: SLF001
    if isinstance(environment, SLURMEnvironment):
        # It would save and requeue in the middle of a step; the resume checkpoint stops after one.
        environment.auto_requeue = False
    limit_threads(trainer.num_devices, cfg.get("n_threads"))
    return Training(data=data, model=model, trainer=trainer, loggers=loggers)


def check_memory(data: TensorDataModule, model: TabularModel, callbacks: Iterable[Callback]) -> None:
    """Refuse what needs all rows of a split where only a part of them is to be in memory."""
    selects = any(isinstance(callback, MemberSelection) for callback in callbacks)
    found = "trees in the net" if model.trees else "the callback MemberSelection" if selects else None
    if data.memory_mib is not None and found:
        raise ValueError(
            f"data.memory_mib must be null with {found}, which needs all rows at once; got "
            f"{data.memory_mib}: leave it out, or train another net"
        )


@dataclass(frozen=True, kw_only=True)
class Training:
    """The parts of a training; its loggers by their keys in the config."""

    data: TensorDataModule
    model: TabularModel
    trainer: Trainer
    loggers: dict[str, Logger]

    def fit(self, checkpoint: Path | None = None) -> None:
        """Train, from a checkpoint where there is one."""
        if checkpoint is None:
            self.model.fit_trees(self.data)
        self.trainer.fit(self.model, datamodule=self.data, ckpt_path=checkpoint, weights_only=True)

    def callback(self, kind: type[Kind]) -> Kind | None:
        """Find the first callback of a kind."""
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        return next((made for made in callbacks if isinstance(made, kind)), None)
