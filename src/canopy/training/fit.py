"""Train a net: data, model, callbacks, loggers, Trainer, fit; what surrounds it is in `canopy.runs`."""

from dataclasses import dataclass
from pathlib import Path

from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from canopy.data.datamodule import TensorDataModule
from canopy.training.callbacks.best_checkpoint import BestCheckpoint
from canopy.training.callbacks.hyperparameters import HyperparameterLog
from canopy.training.checks import check_monitors
from canopy.training.classifier import Classifier
from canopy.training.parts import build, build_all
from canopy.training.threads import limit_threads


def fit(cfg: DictConfig, *, checkpoint: Path | None = None) -> float:
    """Train a net as its config says, from a checkpoint where there is one.

    Returns:
        The best epoch's score on the validation rows; the callback `best_checkpoint` keeps its weights.
    """
    training = prepare(cfg)
    best = training.best_checkpoint
    training.fit(checkpoint)
    return float("nan") if best.best_model_score is None else float(best.best_model_score)


def prepare(cfg: DictConfig) -> "Training":
    """Make what a training consists of, ready for `Training.fit`."""
    seed_everything(cfg.seed, workers=True, verbose=False)
    data: TensorDataModule = build("data", cfg.data)
    check_monitors(cfg, data.schema.class_names)
    model: Classifier = build("model", cfg.model, schema=data.schema)
    loggers = build_all("logger", cfg.logger, Logger)
    callbacks = build_all("callbacks", cfg.callbacks, Callback)
    if not loggers:
        # It has nowhere to write, which Lightning reports as an error.
        callbacks = {
            key: made for key, made in callbacks.items() if not isinstance(made, LearningRateMonitor)
        }
    everything = [*callbacks.values(), HyperparameterLog(cfg)]
    trainer: Trainer = build("trainer", cfg.trainer, callbacks=everything, logger=[*loggers.values()])
    limit_threads(trainer.num_devices, cfg.get("n_threads"))
    return Training(data=data, model=model, trainer=trainer, callbacks=callbacks, loggers=loggers)


@dataclass(frozen=True, kw_only=True)
class Training:
    """The parts of a training; its callbacks and loggers by their keys in the config."""

    data: TensorDataModule
    model: Classifier
    trainer: Trainer
    callbacks: dict[str, Callback]
    loggers: dict[str, Logger]

    def fit(self, checkpoint: Path | None = None) -> None:
        """Train, from a checkpoint where there is one."""
        if checkpoint is None:
            self.model.fit_trees(self.data)
        self.trainer.fit(self.model, datamodule=self.data, ckpt_path=checkpoint, weights_only=True)

    @property
    def best_checkpoint(self) -> BestCheckpoint:
        """The callback that keeps the best checkpoint; there must be one."""
        for callback in self.callbacks.values():
            if isinstance(callback, BestCheckpoint):
                return callback
        raise ValueError(
            "Training must leave checkpoints/best.ckpt; found no callback that does: keep "
            "callbacks.best_checkpoint"
        )
