"""Build a run from its config and train it."""

import logging
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from canopy.data.datamodule import TensorDataModule
from canopy.files import write_json
from canopy.training.classifier import Classifier
from canopy.training.run_folder import BEST_CHECKPOINT, REPORT, keep_data_description, publish

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The parts of a run, as its config describes them."""

    data: TensorDataModule
    model: Classifier
    trainer: Trainer


def build_run(cfg: DictConfig) -> Run:
    """Make the data module, the model and the Trainer with its callbacks and loggers.

    Args:
        cfg: Config with the groups `data`, `model`, `trainer`, `callbacks` and `logger`.

    Returns:
        The run, ready for `fit`, `validate` or `test`.
    """
    seed_everything(cfg.seed, workers=True, verbose=False)
    data: TensorDataModule = instantiate(cfg.data)
    model: Classifier = instantiate(cfg.model)(schema=data.schema)
    trainer: Trainer = instantiate(cfg.trainer)(
        callbacks=instantiate_all(cfg.callbacks, Callback),
        logger=instantiate_all(cfg.logger, Logger),
    )
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


def fit(cfg: DictConfig) -> dict[str, float]:
    """Train the configured net; its best checkpoint by validation stays in the run's folder.

    Args:
        cfg: The composed config of `configs/train.yaml`.

    Returns:
        Scores on the validation rows of the best epoch, by their logged names.

    Raises:
        FileNotFoundError: If the pipeline has not made the tensors.
        RuntimeError: If training ended without a checkpoint.
    """
    run = build_run(cfg)
    folder = Path(cfg.run_folder)
    keep_data_description(run.data.folder, folder)
    log.info("Training in %s", folder)
    started = time.perf_counter()
    run.trainer.fit(run.model, datamodule=run.data, ckpt_path=cfg.checkpoint)
    report = describe_training(run, seconds=time.perf_counter() - started, seed=cfg.seed)
    if run.trainer.interrupted:
        raise KeyboardInterrupt
    best = folder / BEST_CHECKPOINT
    if not best.is_file():
        raise RuntimeError(
            f"Training must leave {BEST_CHECKPOINT}; found none: keep callbacks.best_checkpoint"
        )
    write_json(folder / REPORT, report)
    if cfg.publish.report is not None:
        write_json(cfg.publish.report, report)
    if cfg.publish.run is not None:
        publish(folder, Path(cfg.publish.run))
    log.info("Trained %d epochs in %.0f s: %s", report["epochs"], report["train_seconds"], best)
    return {name: float(value) for name, value in run.trainer.callback_metrics.items()}


def describe_training(run: Run, *, seconds: float, seed: int) -> dict[str, Any]:
    """Tell how fast and where a run trained.

    Args:
        run: The run, after `fit`.
        seconds: Wall time of `fit`, validation included.
        seed: Seed of the run.

    Returns:
        What `reports/train.json` holds; rows per second are training rows over the wall time.
    """
    trainer, model = run.trainer, run.model
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    n_rows = sum(run.data.schema.class_counts["train"]) * trainer.current_epoch
    return {
        "train_seconds": round(seconds, 2),
        "rows_per_second": round(n_rows / seconds),
        "epochs": trainer.current_epoch,
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": name,
        "n_threads": torch.get_num_threads(),
        "seed": seed,
        "git_sha": git_sha(),
    }


def git_sha() -> str | None:
    """Name the commit that is checked out, or None outside a git repository."""
    answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
