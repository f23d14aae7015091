"""Train a run that a config describes, from its start or from where it was."""

import logging
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from canopy.places import display_path
from canopy.preset import leave_out_trees, settle
from canopy.quoting import write_command, write_override
from canopy.runs.distributed import RUN_VARIABLE, check_processes, fit_in_further_process, log_once
from canopy.runs.record import check_returns, describe_result, objective_of, record_run, tracked_runs
from canopy.runs.refit import refit
from canopy.runs.reproduce import compare_with_source, reproduced_config
from canopy.runs.resume import prepare_resume
from canopy.runs.run import CONFIG, EVALUATION, Run
from canopy.runs.run_folder import check_copies, finish, places_outside, start_run_folder, unpublished_record
from canopy.training.callbacks.resume_checkpoint import TrainingStopped
from canopy.training.callbacks.trial_report import SweepTrial, TrialReport
from canopy.training.checks import check_training_config
from canopy.training.fit import prepare
from canopy.training.threads import choose_threads

log = logging.getLogger(__name__)


def fit(
    cfg: DictConfig, *, overrides: Sequence[str] = (), trial: SweepTrial | None = None
) -> float | tuple[float, ...]:
    """Train a new run, or resume one; its best checkpoint by validation stays in the run's folder.

    Args:
        cfg: The composed config of `configs/train.yaml`.
        overrides: What the command line changed in it.
        trial: Trial of a sweep that the run is.

    Returns:
        The best epoch's score on the validation rows, or what `objective.returns` names.
    """
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]
        return fit_in_further_process()
    log_once()
    started = time.perf_counter()
    folder = Path(cfg.run_folder)
    if cfg.resume is not None and cfg.reproduce is None and (record := unpublished_record(folder)):
        log.info("Trained already, and killed before its copies were made")
        finish(cfg, record)
        return objective_of(record, cfg.objective.returns)
    cfg, checkpoint = choose_start(cfg, overrides)
    settle(cfg)
    leave_out_trees(cfg)
    choose_threads(cfg)
    check_training_config(cfg)
    check_returns(cfg.objective.returns)
    training = prepare(cfg)
    check_processes(training.trainer, refit=cfg.refit)
    best = training.best_checkpoint
    if trial is not None:
        trial.name_run(folder)
        report = TrialReport(trial, monitor=cfg.objective.monitor)
        training.trainer.callbacks.insert(0, report)  # type: ignore[attr-defined]
    is_dry_run = bool(training.trainer.fast_dev_run)  # type: ignore[attr-defined]
    trackers = {} if is_dry_run else tracked_runs(training.loggers)
    recording = record_run(
        folder, overrides=overrides, seed=cfg.seed, step=cfg.resume_step, trackers=trackers
    )
    if checkpoint is None:
        start_run_folder(folder, cfg, training.data.folder)
    # Scores and predictions of a checkpoint that may be replaced by a resume.
    shutil.rmtree(folder / EVALUATION, ignore_errors=True)
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    # For the processes that the Trainer starts.
    os.environ[RUN_VARIABLE] = str(folder.resolve())
    with hint_at_resume(cfg), recording as record:
        log.info("Training in %s%s", display_path(folder), "" if checkpoint is None else ", resumed")
        training.fit(checkpoint)
        if is_dry_run:
            log.info("Ran a few batches without an error; nothing was saved")
            return float(training.trainer.callback_metrics[cfg.objective.monitor])
        record |= describe_result(training, best, folder=folder, seed=cfg.seed, started=started)
        if trial is not None:
            record["trial"] = trial.describe()
            record["status"] = "pruned" if report.pruned else "finished"
        elif cfg.refit:
            refit(cfg, training, record["training"])
        record["published"] = False
    finish(cfg, record)
    if cfg.reproduce is not None:
        compare_with_source(Run(cfg.reproduce), Run(folder))
    return objective_of(record, cfg.objective.returns)


def choose_start(cfg: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, Path | None]:
    """Give the config to train with, of a run to reproduce or to resume if asked for, and a checkpoint."""
    check_copies(cfg)
    if cfg.reproduce is not None:
        if cfg.resume is not None:
            raise ValueError("One of reproduce and resume must be null; got both: leave one out")
        return reproduced_config(Run(cfg.reproduce), cfg, overrides), None
    if cfg.resume is not None and (Path(cfg.run_folder) / CONFIG).is_file():
        config, checkpoint = prepare_resume(Run(cfg.run_folder), cfg, overrides)
        # Copies replace what is there: where they go is what this command says, not what the folder says.
        config.publish = cfg.publish
        return config, checkpoint
    return cfg, None


@contextmanager
def hint_at_resume(cfg: DictConfig) -> Iterator[None]:
    """Turn the stop of a training by a signal into the command's end, with the command that resumes it."""
    try:
        yield
    except TrainingStopped as stop:
        log.warning("Training was %s and its state saved; resume it with:", stop)
        folder = Path(cfg.run_folder)
        # What the run writes elsewhere, to a tracking server say, is typed again for a resume.
        typed = (write_override(f"++{key}", value) for key, value in places_outside(cfg, folder))
        log.warning("  %s", write_command("train", *typed, resume=display_path(folder)))
        raise SystemExit(128 + stop.signal_number) from stop
