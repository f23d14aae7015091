"""Train a run that a config describes, from its start or from where it was."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from canopy.places import display_path
from canopy.preset import leave_out_trees, settle
from canopy.quoting import write_command, write_override
from canopy.runs.distributed import check_processes, fit_in_further_process, log_once, name_run_folder
from canopy.runs.finish import check_copies, finish
from canopy.runs.objective import check_returns, objective_of, report_to_sweep
from canopy.runs.record import record_run, tracked_runs
from canopy.runs.refit import refit
from canopy.runs.report import describe_result
from canopy.runs.reproduce import compare_with_source, reproduced_config, reproduced_run, warn_of_differences
from canopy.runs.resume import prepare_resume
from canopy.runs.run import CONFIG, Run
from canopy.runs.run_folder import resume_run_folder, start_run_folder, unpublished_record
from canopy.runs.written_paths import places_outside
from canopy.training.callbacks.resume_checkpoint import TrainingStopped
from canopy.training.callbacks.trial_report import SweepTrial
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

    Raises:
        FileNotFoundError: If the pipeline has not made the tensors.
        ValueError: If a run to resume was trained on other data, is finished, or is contradicted by
            an override; if the config is invalid; if another run is to be reproduced at once; or if no
            callback keeps the best checkpoint.
        SystemExit: If training was stopped by a signal; its state is saved.
    """
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]
        return fit_in_further_process()
    log_once()
    started = time.perf_counter()
    source = reproduced_run(cfg)
    if cfg.resume is not None and (record := unpublished_record(Path(cfg.run_folder))):
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
    folder = Path(cfg.run_folder)
    report = report_to_sweep(trial, training.trainer, monitor=cfg.objective.monitor, folder=folder)
    is_dry_run = bool(training.trainer.fast_dev_run)  # type: ignore[attr-defined]
    trackers = {} if is_dry_run else tracked_runs(training.loggers)
    recording = record_run(
        folder, overrides=overrides, seed=cfg.seed, step=cfg.resume_step, trackers=trackers
    )
    if checkpoint is None:
        start_run_folder(folder, cfg, training.data.folder)
    else:
        resume_run_folder(folder)
    name_run_folder(folder)
    with hint_at_resume(cfg), recording as record:
        log.info("Training in %s%s", display_path(folder), "" if checkpoint is None else ", resumed")
        if source is not None:
            warn_of_differences(source, Run(folder))
        training.fit(checkpoint)
        if is_dry_run:
            log.info("Ran a few batches without an error; nothing was saved")
            return float(training.trainer.callback_metrics[cfg.objective.monitor])
        record |= describe_result(training, best, folder=folder, seed=cfg.seed, started=started)
        if report is not None:
            record["trial"] = report.trial.describe()
            record["status"] = "pruned" if report.pruned else "finished"
        elif cfg.refit:
            refit(cfg, training, record["training"])
        if any(place is not None for place in cfg.publish.values()):
            record["published"] = False
    finish(cfg, record)
    if source is not None:
        compare_with_source(source, Run(folder), cfg)
    return objective_of(record, cfg.objective.returns)


def choose_start(cfg: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, Path | None]:
    """Find out what to train: a new run, a new one with another's config, or an old one to resume.

    Returns:
        The config to train with, and the checkpoint to resume from if there is one.

    Raises:
        ValueError: If the copy that was asked for would take the place of something else.
    """
    check_copies(cfg)
    if cfg.reproduce is not None:
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
        # What the run writes elsewhere, to a tracking server say, is typed again for a resume.
        elsewhere = places_outside(cfg, Path(cfg.run_folder))
        typed = (write_override(f"++{key}", value) for key, value in elsewhere)
        log.warning("  %s", write_command("train", *typed, resume=display_path(cfg.run_folder)))
        raise SystemExit(128 + stop.signal_number) from stop
