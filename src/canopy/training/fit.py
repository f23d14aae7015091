"""Build a run from its config and train it."""

import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from hydra.utils import instantiate
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from canopy.callbacks.hyperparameters import HyperparameterLog
from canopy.callbacks.resume_checkpoint import TrainingStopped
from canopy.data.datamodule import TensorDataModule
from canopy.files import write_json
from canopy.training.classifier import Classifier
from canopy.training.git import git_sha
from canopy.training.record import record_run
from canopy.training.resume import prepare_resume
from canopy.training.run_folder import (
    BEST_CHECKPOINT,
    CONFIG,
    REPORT,
    RunFolder,
    publish,
    start_run_folder,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The parts of a run, as its config describes them."""

    data: TensorDataModule
    model: Classifier
    trainer: Trainer


class BestCheckpoint(TypedDict):
    """The best checkpoint: its path in the run's folder, what chose it and the score it reached."""

    path: str
    monitor: str
    score: float


def build_run(cfg: DictConfig) -> Run:
    """Make the data module, the model and the Trainer with its callbacks and loggers.

    Args:
        cfg: Config with the groups `data`, `model`, `trainer`, `callbacks` and `logger`.

    Returns:
        The run, ready for `fit`, `validate` or `test`.
    """
    # Lightning's own handler would show each message a second time.
    logging.getLogger("lightning").handlers.clear()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        # Of several processes one speaks; the others keep their log files.
        root = logging.getLogger()
        root.handlers = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]
    seed_everything(cfg.seed, workers=True, verbose=False)
    data: TensorDataModule = instantiate(cfg.data)
    model: Classifier = instantiate(cfg.model)(schema=data.schema)
    loggers = instantiate_all(cfg.logger, Logger)
    callbacks = instantiate_all(cfg.callbacks, Callback)
    if not loggers:
        # It has nowhere to write, which Lightning takes for a mistake.
        callbacks = [item for item in callbacks if not isinstance(item, LearningRateMonitor)]
    trainer: Trainer = instantiate(cfg.trainer)(callbacks=callbacks, logger=loggers)
    return Run(data=data, model=model, trainer=trainer)


def instantiate_all(group: DictConfig | None, kind: type) -> list[Any]:
    """Instantiate each entry of a config group that is a mapping of names to objects.

    Args:
        group: Name to config; an entry set to null is left out.
        kind: What each must be.

    Raises:
        TypeError: If an entry makes something else.
    """
    made = [instantiate(entry) for entry in (group or {}).values() if entry is not None]
    for item in made:
        if not isinstance(item, kind):
            raise TypeError(f"Each entry must make a {kind.__name__}; found {type(item).__name__}")
    return made


def fit(cfg: DictConfig, *, overrides: Sequence[str] = ()) -> float:
    """Train a new run, or go on with one; its best checkpoint by validation stays in the run's folder.

    Args:
        cfg: The composed config of `configs/train.yaml`.
        overrides: What the command line changed in it.

    Returns:
        The best epoch's score on the validation rows, the config's `objective`.

    Raises:
        FileNotFoundError: If the pipeline has not made the tensors.
        ValueError: If a run to go on with was trained on other data, is finished, or is contradicted by
            an override; or if no callback keeps the best checkpoint.
        SystemExit: If training was stopped by a signal; its state is saved.
    """
    folder = Path(cfg.run_folder)
    checkpoint = None
    if cfg.resume is not None and (folder / CONFIG).is_file():
        cfg, checkpoint = prepare_resume(RunFolder(folder), overrides)
    run = build_run(cfg)
    find_best_callback(run.trainer)
    run.trainer.callbacks.append(HyperparameterLog(cfg))  # type: ignore[attr-defined]
    if not run.trainer.is_global_zero:
        # One process of several writes the run's files.
        run.trainer.fit(run.model, datamodule=run.data, ckpt_path=checkpoint, weights_only=True)
        return find_best_checkpoint(run.trainer, folder)["score"]
    if checkpoint is None:
        start_run_folder(folder, cfg, run.data.folder)
    else:
        # That is what a resume is for.
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    try:
        with record_run(folder, overrides=overrides, seed=cfg.seed) as record:
            log.info("Training in %s%s", folder, "" if checkpoint is None else ", going on where it was")
            run.trainer.fit(run.model, datamodule=run.data, ckpt_path=checkpoint, weights_only=True)
            if run.trainer.fast_dev_run:  # type: ignore[attr-defined]
                log.info("Ran a few batches without an error; nothing was saved")
                return float(run.trainer.callback_metrics[cfg.objective.monitor])
            report = describe_training(run, seed=cfg.seed)
            best = find_best_checkpoint(run.trainer, folder)
            record["metrics"] = {
                name: float(value) for name, value in sorted(run.trainer.callback_metrics.items())
            }
            record["best"] = best
            record["training"] = report
    except TrainingStopped as stop:
        log.warning("Training was %s and its state saved; go on with:", stop)
        log.warning("  python src/train.py resume=%s", os.path.relpath(folder))
        raise SystemExit(128 + stop.signal_number) from stop
    write_json(folder / REPORT, report)
    if cfg.publish.report is not None:
        write_json(cfg.publish.report, report)
    if cfg.publish.run is not None:
        publish(folder, Path(cfg.publish.run))
    log.info(
        "Trained %d epochs in %.0f s; best %s %.4f: %s",
        report["epochs"],
        report["train_seconds"],
        best["monitor"],
        best["score"],
        folder / best["path"],
    )
    return best["score"]


def find_best_checkpoint(trainer: Trainer, folder: Path) -> BestCheckpoint:
    """Tell which checkpoint is the best by validation.

    Returns:
        Its path in the run's folder, the metric that chose it and the score it reached.
    """
    callback = find_best_callback(trainer)
    assert callback.best_model_score is not None
    return BestCheckpoint(
        path=str(Path(callback.best_model_path).relative_to(folder.resolve())),
        monitor=str(callback.monitor),
        score=float(callback.best_model_score),
    )


def find_best_callback(trainer: Trainer) -> ModelCheckpoint:
    """Find the callback that keeps the best checkpoint.

    Raises:
        ValueError: If there is none.
    """
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
            return callback
    raise ValueError(
        f"Training must leave {BEST_CHECKPOINT}; found no callback that does: keep callbacks.best_checkpoint"
    )


def describe_training(run: Run, *, seed: int) -> dict[str, Any]:
    """Tell how fast and where a run trained.

    Args:
        run: The run, after `fit`.
        seed: Seed of the run.

    Returns:
        What `reports/train.json` holds: the wall time of training and validation (of all parts of a run
        that was resumed, without what a killed part had not saved), training rows over that time.
    """
    trainer, model = run.trainer, run.model
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    seconds = model.train_seconds
    return {
        "train_seconds": round(seconds, 2),
        "rows_per_second": round(model.n_rows_trained * trainer.world_size / seconds),
        "epochs": trainer.current_epoch,
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": name,
        "n_threads": torch.get_num_threads(),
        "seed": seed,
        "git_sha": git_sha(),
    }
