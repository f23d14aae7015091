"""What a run reports when it has ended: its best checkpoint, how fast and where it trained."""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch

from canopy.runs.environment import git_sha
from canopy.training.callbacks.best_checkpoint import BestCheckpoint
from canopy.training.callbacks.member_selection import MemberSelection
from canopy.training.fit import Training


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


class Report(TypedDict):
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


def describe_result(
    training: Training, best: BestCheckpoint, *, folder: Path, seed: int, started: float
) -> dict[str, Any]:
    """Describe a training that has ended, for the run's record.

    Args:
        training: The training, after `fit`.
        best: The callback that kept its best checkpoint.
        folder: The run's folder.
        seed: Its seed.
        started: When it began to be built, by `time.perf_counter`.

    Raises:
        ValueError: If it ended without a validation, as a limit of time can make it.
    """
    if best.best_model_score is None:
        raise ValueError(
            "The best epoch is chosen by validation; got none before training ended: lower "
            "trainer.check_val_every_n_epoch or trainer.val_check_interval, or train longer"
        )
    model, trainer = training.model, training.trainer
    device = trainer.strategy.root_device
    seconds = model.train_seconds
    report = Report(
        train_seconds=round(seconds, 2),
        rows_per_second=round(model.n_rows_trained * trainer.world_size / seconds),
        epochs=trainer.current_epoch,
        best_epoch=best.best_epoch,
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        batch_size=training.data.batch_size,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        n_threads=torch.get_num_threads(),
        seed=seed,
        git_sha=git_sha(),
    )
    for callback in training.callbacks.values():
        if isinstance(callback, MemberSelection):
            report["members"] = callback.found[best.best_epoch]
    return {
        "best": Best(
            path=str(Path(best.best_model_path).relative_to(folder.resolve())),
            monitor=str(best.monitor),
            score=float(best.best_model_score),
            metrics=best.best_metrics,
        ),
        "seconds": Phases(
            setup=round(model.started - started, 2),
            training=round(seconds - model.validation_seconds, 2),
            validation=round(model.validation_seconds, 2),
        ),
        "training": report,
    }
