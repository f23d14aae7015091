"""Score a run's best checkpoint on validation and test rows."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from canopy.data.datamodule import TensorDataModule
from canopy.evaluation.decision import join_scores, log_decision, make_decider
from canopy.files import read_json, write_json
from canopy.places import require_file
from canopy.runs.distributed import log_once
from canopy.runs.find import run_folders
from canopy.runs.run import METRICS, Run, check_same_data
from canopy.runs.trackers import continue_trackers
from canopy.tasks.scores import Scores
from canopy.tasks.task import Task, TaskScores
from canopy.training.callbacks.calibration import CalibrationReport
from canopy.training.checkpoint import load_checkpoint, load_weights
from canopy.training.model import TabularModel
from canopy.training.parts import build_all
from canopy.training.threads import limit_threads

log = logging.getLogger(__name__)

SPLITS = ("test", "val")


def evaluate(run: Run, cfg: DictConfig) -> dict[str, Any]:
    """Score a run as `configs/evaluate.yaml` says; in its own folder, the other split keeps its scores."""
    splits = _chosen_splits(cfg)
    require_file(run.best_checkpoint, name="The checkpoint ", hint="train first; baselines have none")
    log_once()
    data: TensorDataModule = instantiate(run.located_config.data)
    check_same_data(run, data.folder, splits=splits)
    model: TabularModel = instantiate(run.config.model)(schema=data.schema)
    callbacks = [*build_all("callbacks", cfg.callbacks, Callback).values()]
    continue_trackers(cfg, run.record)
    loggers = [*build_all("logger", cfg.logger, Logger).values()]
    # Loggers draw the scores where the weights are of, not at the step 0 of a trainer that trains nothing.
    step = float(load_checkpoint(run.best_checkpoint)["global_step"] - 1)
    at_step = dict.fromkeys(
        ("on_validation_epoch_end", "on_test_epoch_end"),
        lambda _, module: module.log("step", step, sync_dist=True),
    )
    trainer: Trainer = instantiate(cfg.trainer)(
        callbacks=[*callbacks, LambdaCallback(**at_step)], logger=loggers
    )
    limit_threads(trainer.num_devices)
    path = Path(cfg.output) / Path(METRICS).name
    own = path.resolve().is_relative_to(run.path.resolve())
    earlier: dict[str, Any] = read_json(path) if own and path.is_file() else {}
    calibrations = [callback for callback in callbacks if isinstance(callback, CalibrationReport)]
    # Fitted when the validation rows were scored.
    before = earlier.get("val", {}).get("calibrated")
    decider = make_decider(cfg, run, task=model.task, earlier=earlier.get("val", {}), splits=splits)
    for calibration in calibrations:
        calibration.fitted = model.task.read_calibration(before) if before else None
        calibration.decider = decider
    for split, score in (("val", trainer.validate), ("test", trainer.test)):
        if split in splits:
            model.load_state_dict(load_weights(run.best_checkpoint, split=split))
            score(model, datamodule=data, verbose=False)
    report = {split: model.scores[split].report() for split in splits}
    for calibration in calibrations:
        for split, found in calibration.splits.items():
            report[split]["calibrated"] = found.report()
    for split, scored in decider.reports.items() if decider else ():
        report[split]["decision"] = scored
    if not trainer.is_global_zero:
        return report
    write_scores(path, join_scores(earlier, report), run.record, headline=model.task.headline)
    for split in report:
        log_scores(split, model.scores[split], model.task)
        log_decision(split, report[split])
    if cfg.explain:
        # Here, since few evaluations need it.
        from canopy.evaluation.explain import explain

        model.float().load_state_dict(load_weights(run.best_checkpoint, split="val"))
        plotted = {split: found for item in calibrations for split, found in item.splits.items()}
        # Lightning leaves it on the CPU.
        model.to(trainer.strategy.root_device).eval()
        figures = {"Threshold": decider.figure} if decider else {}
        explain(run, model, data.rows("val"), cfg, report=report, calibrations=plotted, figures=figures)
    return report


def _chosen_splits(cfg: DictConfig) -> tuple[str, ...]:
    if cfg.split not in (None, *SPLITS):
        raise ValueError(f"split must be one of {[*SPLITS]}, or null for both; found {cfg.split!r}")
    if cfg.explain and cfg.split == "test":
        raise ValueError("explain=true needs validation rows, since test rows decide nothing; got split=test")
    return SPLITS if cfg.split is None else (cfg.split,)


def log_scores(split: str, scores: TaskScores, task: Task) -> None:
    report = scores.report()
    shown = ", ".join(f"{name} {report[name]:.4g}" for name in task.headline if name in report)
    log.info("%s: %s on %d rows", split, shown, scores.n_rows)
    if isinstance(scores, Scores) and np.count_nonzero(scores.confusion.any(axis=0)) == 1:
        log.warning("%s: all rows are predicted as one class; the accuracy is only its share", split)


def write_scores(
    path: Path, report: dict[str, Any], record: dict[str, Any], *, headline: Sequence[str]
) -> None:
    """Write `metrics.json`, and next to it the few scores that are compared first: those of a `headline`."""
    write_json(path, report)
    content: dict[str, Any] = {
        split: {name: found[name] for name in headline if name in found} for split, found in report.items()
    }
    content["train_seconds"] = record.get("training", {}).get("train_seconds")
    write_json(path.with_name("headline.json"), content)


def evaluate_all(cfg: DictConfig) -> None:
    """Score the run `cfg.run`, or each run below that folder."""
    folders = list(run_folders(Path(cfg.run))) or [Path(cfg.run)]
    for key in ("output", "details", "plots"):
        if len(folders) > 1 and not OmegaConf.is_interpolation(cfg, key):
            raise ValueError(
                f"{key} must be left to each of the {len(folders)} runs in {cfg.run}: leave it out"
            )
    for folder in folders:
        run = Run(folder)
        if len(folders) > 1 and not run.best_checkpoint.is_file():
            log.warning("Left out %s, which has no best checkpoint yet", folder)
            continue
        log.info("Scoring %s", folder)
        own = cfg.copy()
        own.run = str(folder)
        evaluate(run, own)
