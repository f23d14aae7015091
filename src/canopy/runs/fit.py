"""Train a run that a config describes, from its start or from where it was."""

import logging
import shutil
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from canopy.places import display_path
from canopy.preset import leave_out_trees, settle
from canopy.runs.distributed import (
    check_processes,
    connect,
    fit_in_further_process,
    lead,
    log_once,
    lost_process_as_error,
)
from canopy.runs.environment import git_sha
from canopy.runs.record import check_returns, describe_result, objective_of, record_run
from canopy.runs.refit import refit
from canopy.runs.reproduce import compare_with_source, reproduced_config
from canopy.runs.resume import hint_at_resume, prepare_resume
from canopy.runs.run import CONFIG, EVALUATION, Run
from canopy.runs.run_folder import check_copies, finish, start_run_folder, unpublished_record
from canopy.runs.trackers import start_trackers
from canopy.training.callbacks.best_checkpoint import BestCheckpoint
from canopy.training.callbacks.progress import TrialReport
from canopy.training.fit import Training, prepare
from canopy.training.parts import check_training_config
from canopy.training.threads import choose_threads

log = logging.getLogger(__name__)


def fit(cfg: DictConfig, *, overrides: Sequence[str] = (), trial: Any = None) -> float | tuple[float, ...]:
    """Train a new run, or resume one; its best checkpoint by validation stays in the run's folder.

    Args:
        cfg: The composed config of `configs/train.yaml`.
        overrides: What the command line changed in it.
        trial: The `canopy.sweep.worker.JobTrial` that the run is, in a sweep.

    Returns:
        The best epoch's score on the validation rows, or what `objective.returns` names.
    """
    with lost_process_as_error():
        connect()
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]
        return fit_in_further_process()
    log_once()
    started, folder = time.perf_counter(), Path(cfg.run_folder)
    if cfg.resume is not None and cfg.reproduce is None and (record := unpublished_record(folder)):
        log.info("Trained already, and killed before its copies were made")
        lead(None)
        finish(cfg, record)
        return objective_of(record, cfg.objective.returns)
    cfg, checkpoint = choose_start(cfg, overrides)
    settle(cfg)
    leave_out_trees(cfg)
    choose_threads(cfg)
    check_training_config(cfg)
    check_returns(cfg.objective.returns)
    further = [] if trial is None else [TrialReport(trial, monitor=cfg.objective.monitor)]
    training = prepare(cfg, *further)
    check_processes(training.trainer, refit=cfg.refit)
    if training.callback(BestCheckpoint) is None:
        raise ValueError(
            "A run must save its best epoch; found no callback that does: keep callbacks.best_checkpoint"
        )
    if trial is not None:
        trial.name_run(folder)
    record = _train(cfg, training, checkpoint, overrides, started)
    if cfg.trainer.get("fast_dev_run"):
        log.info("Ran a few batches without an error; nothing was saved")
        return float(training.trainer.callback_metrics[cfg.objective.monitor])
    finish(cfg, record)
    if cfg.reproduce is not None:
        compare_with_source(Run(cfg.reproduce), Run(folder))
    return objective_of(record, cfg.objective.returns)


def _train(
    cfg: DictConfig, training: Training, checkpoint: Path | None, overrides: Sequence[str], started: float
) -> dict[str, Any]:
    """Train in the run's folder, again with the validation rows if the config says so; give the record."""
    folder, is_dry_run = Path(cfg.run_folder), cfg.trainer.get("fast_dev_run")
    trackers = {} if is_dry_run else start_trackers(training.loggers, cfg, overrides)
    options = {"overrides": overrides, "seed": cfg.seed, "step": cfg.resume_step, "trackers": trackers}
    if checkpoint is None:
        start_run_folder(folder, cfg, training.data.folder)
    # Scores and predictions of a checkpoint that may be replaced by a resume.
    shutil.rmtree(folder / EVALUATION, ignore_errors=True)
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    with hint_at_resume(cfg), record_run(folder, **options) as record:
        log.info("Training in %s%s", display_path(folder), "" if checkpoint is None else ", resumed")
        with lost_process_as_error():
            lead(cfg, checkpoint)
            training.fit(checkpoint)
        if is_dry_run:
            return record
        record |= describe_result(training, folder=folder, seed=cfg.seed, started=started)
        if (report := training.callback(TrialReport)) is not None:
            record |= {"trial": report.trial.describe(), "status": report.status}
        elif cfg.refit:
            refit(cfg, training, record["training"])
        record["published"] = False
    return record


def choose_start(cfg: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, Path | None]:
    """Give the config to train with, of a run to reproduce or to resume if asked for, and a checkpoint."""
    check_copies(cfg)
    if cfg.reproduce is not None:
        if cfg.resume is not None:
            raise ValueError("One of reproduce and resume must be null; got both: leave one out")
        source = Run(cfg.reproduce)
        config, checkpoint = reproduced_config(source, cfg, overrides), None
    elif cfg.resume is not None and (Path(cfg.run_folder) / CONFIG).is_file():
        source = Run(cfg.run_folder)
        config, checkpoint = prepare_resume(source, cfg, overrides)
        # Copies replace what is there: where they go is what this command says, not what the folder says.
        config.publish = cfg.publish
    else:
        return cfg, None
    commit, found = (source.record.get("git") or {}).get("commit"), git_sha()
    if commit and found and commit != found:
        text = "%s was trained by commit %s, not %s: check that out if its config or its weights must fit"
        log.warning(text, source.path, commit, found)
    return config, checkpoint
