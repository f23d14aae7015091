"""Show a run's config and its results in TensorBoard and in tracking servers."""

import json
import textwrap
from pathlib import Path
from typing import Any

import yaml
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from canopy.training.callbacks.best_checkpoint import BestCheckpoint
from canopy.training.loggers.tracker import Tracker

# What runs are compared by, each with all that is below it.
SHOWN = (
    *("seed", "data.batch_size", "model", "trainer.max_epochs", "trainer.precision"),
    *("trainer.gradient_clip_val", "trainer.accumulate_grad_batches"),
)


class HyperparameterLog(Callback):
    """Log a run's config, hyperparameters and the metrics of its best epoch: `best/...` and `hp_metric`."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        resumed = trainer.global_step > 0
        # A resumed run has it in TensorBoard.
        for logger in [] if resumed else tensorboards(trainer):
            text = yaml.safe_dump(resolve(self.config), sort_keys=False, allow_unicode=True)
            # In Markdown, a block of code.
            logger.experiment.add_text("config", textwrap.indent(text, "    "))
        for tracker in trackers(trainer):
            if isinstance(tracker, Tracker):
                tracker.log_config(resolve(self.config), flatten(self.config))
            elif not resumed:
                tracker.log_hyperparams(flatten(self.config))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics, best = {}, trainer.checkpoint_callback
        if isinstance(best, BestCheckpoint) and best.best_model_score is not None:
            metrics = {name.replace("val/", "best/", 1): value for name, value in best.best_metrics.items()}
            metrics["hp_metric"] = float(best.best_model_score)
        for logger in tensorboards(trainer):
            _write_session(Path(logger.log_dir), self.config, metrics, step=trainer.global_step)
        for tracker in trackers(trainer):
            tracker.log_metrics(metrics, step=trainer.global_step)


def tensorboards(trainer: Trainer) -> list[TensorBoardLogger]:
    """Find the TensorBoard loggers of a Trainer, none on other processes than the first."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def trackers(trainer: Trainer) -> list[Logger]:
    """Find the loggers that are no files of the run's folder, where its config is anyway."""
    return [logger for logger in trainer.loggers if not isinstance(logger, TensorBoardLogger | CSVLogger)]


def resolve(config: DictConfig) -> Any:
    """Give a config's content, its interpolations resolved but for the environment, which has secrets."""
    OmegaConf.register_resolver("oc.env", lambda name, *_: f"({name} of the environment)", replace=True)
    try:
        return OmegaConf.to_container(config, resolve=True)
    finally:
        OmegaConf.register_resolver("oc.env", oc.env, replace=True, annotation_validation="off")


def _write_session(folder: Path, config: DictConfig, metrics: dict[str, float], *, step: int) -> None:
    """Write a run's row of the HParams tab, in place of the one from before it was resumed."""
    # TensorBoard keeps the first row that it reads for a run.
    for earlier in folder.glob("events.*.hparams"):
        earlier.unlink()
    # Without torch's summary of the experiment: TensorBoard would take the first run's for all, so that
    # hyperparameters which that run does not have were missing.
    _, start, end = hparams(flatten(config), {})  # type: ignore[no-untyped-call]
    with SummaryWriter(folder, filename_suffix=".hparams") as writer:
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)
        writer.file_writer.add_summary(start)
        writer.file_writer.add_summary(end)


def flatten(config: DictConfig) -> dict[str, float | str]:
    """Give the hyperparameters of a config under dotted keys; objects by the name of the class."""
    flat: dict[str, float | str] = {}

    def visit(key: str, value: Any) -> None:
        if isinstance(value, dict):
            if "_target_" in value and key != "model":
                flat[key] = value["_target_"].rpartition(".")[2]
            for name, item in value.items():
                if not str(name).startswith("_"):
                    visit(f"{key}.{name}", item)
        else:
            # Shown as words: TensorBoard would show 1.0, and take a missing value for one like all others.
            is_word = isinstance(value, bool) or not isinstance(value, int | float | str)
            flat[key] = json.dumps(value) if is_word else value

    values = resolve(config)
    for key in SHOWN:
        section, _, name = key.partition(".")
        visit(key, values[section].get(name) if name else values[section])
    return flat
