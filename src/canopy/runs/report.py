"""What a run reports when it has ended: its best checkpoint, how fast and where it trained."""

from pathlib import Path
from typing import NotRequired, TypedDict

import torch
from lightning import Trainer

from canopy.data.datamodule import TensorDataModule
from canopy.runs.environment import git_sha
from canopy.runs.run import BEST_CHECKPOINT
from canopy.training.callbacks.best_checkpoint import BestCheckpoint
from canopy.training.callbacks.member_selection import MemberSelection
from canopy.training.classifier import Classifier


class Best(TypedDict):
    """The best epoch: its checkpoint in the run's folder, what chose it, its score and all its metrics."""

    path: str
    monitor: str
    score: float
    metrics: dict[str, float]


class Phases(TypedDict):
    """Where the wall time of a run went, in seconds.

    Building it and loading its data (of the last command, where a run was resumed), then training and
    validation of all its epochs.
    """

    setup: float
    training: float
    validation: float


class Training(TypedDict):
    """How fast and where a run trained: what `reports/train.json` holds.

    The wall time of training and validation is that of all parts of a run that was resumed, without what a
    killed part had not saved, and of the refit, whose part is `refit_seconds`; the training rows per second
    leave the refit out. The best epoch is counted from 1. The batch size is that of each device at the end: a
    run that was resumed on another number of devices kept the rows of a step. The members are what
    `MemberSelection` found of the kinds of nets at the best epoch.
    """

    train_seconds: float
    rows_per_second: int
    epochs: int
    best_epoch: int
    n_parameters: int
    batch_size: int
    device: str
    n_threads: int
    seed: int
    git_sha: str | None
    refit_seconds: NotRequired[float]
    members: NotRequired[dict[str, dict[str, float]]]


def find_best_callback(trainer: Trainer) -> BestCheckpoint:
    """Find the callback that keeps the best checkpoint.

    Raises:
        ValueError: If there is none, or no validation that it could choose by.
    """
    for name in ("limit_train_batches", "limit_val_batches", "max_epochs", "max_steps"):
        if (limit := getattr(trainer, name)) == 0:
            raise ValueError(
                f"trainer.{name} must be above 0; got {limit}: the best epoch is chosen by validation"
            )
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, BestCheckpoint):
            return callback
    raise ValueError(
        f"Training must leave {BEST_CHECKPOINT}; found no callback that does: keep callbacks.best_checkpoint"
    )


def describe_best(callback: BestCheckpoint, folder: Path) -> Best:
    """Describe the best epoch that a callback has kept in a run's folder.

    Raises:
        ValueError: If training ended without a validation, as a limit of time can make it.
    """
    if callback.best_model_score is None:
        raise ValueError(
            "The best epoch is chosen by validation; got none before training ended: lower "
            "trainer.check_val_every_n_epoch or trainer.val_check_interval, or train longer"
        )
    return Best(
        path=str(Path(callback.best_model_path).relative_to(folder.resolve())),
        monitor=str(callback.monitor),
        score=float(callback.best_model_score),
        metrics=callback.best_metrics,
    )


def describe_phases(model: Classifier, started: float) -> Phases:
    """Describe where the wall time of a run went that began to be built at a `time.perf_counter`."""
    return Phases(
        setup=round(model.started - started, 2),
        training=round(model.train_seconds - model.validation_seconds, 2),
        validation=round(model.validation_seconds, 2),
    )


def describe_training(
    trainer: Trainer, model: Classifier, data: TensorDataModule, *, best: BestCheckpoint, seed: int
) -> Training:
    """Describe how fast and where a run trained."""
    device = trainer.strategy.root_device
    training = Training(
        train_seconds=round(model.train_seconds, 2),
        rows_per_second=round(model.n_rows_trained * trainer.world_size / model.train_seconds),
        epochs=trainer.current_epoch,
        best_epoch=best.best_epoch,
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        batch_size=data.batch_size,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        n_threads=torch.get_num_threads(),
        seed=seed,
        git_sha=git_sha(),
    )
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, MemberSelection):
            training["members"] = callback.found[best.best_epoch]
    return training
