"""Train a run that a config describes, from its start or from where it was."""

import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from canopy.files import write_json
from canopy.places import check_place, check_writable, display_path
from canopy.preset import leave_out_trees, settle
from canopy.quoting import write_command, write_override
from canopy.runs.console import say_once
from canopy.runs.objective import check_returns, objective_of, report_to_sweep
from canopy.runs.record import record_run, tracked_runs
from canopy.runs.refit import refit
from canopy.runs.report import describe_best, describe_phases, describe_training, find_best_callback
from canopy.runs.reproduce import log_whether_reproduced, reproduced_config, same_config, warn_of_differences
from canopy.runs.resume import prepare_resume
from canopy.runs.run_folder import (
    CONFIG,
    RECORD,
    REPORT,
    RunFolder,
    publish,
    resume_run_folder,
    start_run_folder,
    unpublished_record,
)
from canopy.runs.written_paths import places_outside
from canopy.training.build import Run, build_run, check_processes
from canopy.training.callbacks.resume_checkpoint import TrainingStopped
from canopy.training.callbacks.trial_report import SweepTrial
from canopy.training.checks import (
    check_training_config,
)
from canopy.training.threads import choose_threads

log = logging.getLogger(__name__)

# Where the first of several processes names its run's folder to those that the Trainer starts.
RUN_VARIABLE = "CANOPY_RUN_FOLDER"


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
    started = time.perf_counter()
    if rank_zero_only.rank > 0:  # type: ignore[attr-defined]
        return fit_further_process()
    source = reproduced_run(cfg)
    if cfg.resume is not None and (trained := unpublished_record(Path(cfg.run_folder))):
        log.info("Trained already, and killed before its copies were made")
        finish(cfg, trained)
        return objective_of(trained, cfg.objective.returns)
    say_once()
    cfg, checkpoint = choose_start(cfg, overrides)
    settle(cfg)
    leave_out_trees(cfg)
    choose_threads(cfg)
    check_training_config(cfg)
    check_returns(cfg.objective.returns)
    run = build_run(cfg)
    check_processes(run.trainer, refit=cfg.refit)
    find_best_callback(run.trainer)
    folder = Path(cfg.run_folder)
    report = report_to_sweep(trial, run.trainer, monitor=cfg.objective.monitor, folder=folder)
    if checkpoint is None:
        start_run_folder(folder, cfg, run.data.folder)
    else:
        resume_run_folder(folder)
    try:
        trackers = {} if run.trainer.fast_dev_run else tracked_runs(run.loggers)  # type: ignore[attr-defined]
        with record_run(
            folder, overrides=overrides, seed=cfg.seed, step=cfg.resume_step, trackers=trackers
        ) as record:
            log.info("Training in %s%s", display_path(folder), "" if checkpoint is None else ", resumed")
            if source is not None:
                warn_of_differences(source, RunFolder(folder))
            os.environ[RUN_VARIABLE] = str(folder.resolve())
            run.fit(checkpoint)
            if run.trainer.fast_dev_run:  # type: ignore[attr-defined]
                log.info("Ran a few batches without an error; nothing was saved")
                return float(run.trainer.callback_metrics[cfg.objective.monitor])
            record |= finish_training(cfg, run, started=started, refits=cfg.refit and report is None)
            if any(place is not None for place in cfg.publish.values()):
                record["published"] = False
            if report is not None:
                record["trial"] = report.trial.describe()
                record["status"] = "pruned" if report.pruned else "finished"
    except TrainingStopped as stop:
        log.warning("Training was %s and its state saved; resume it with:", stop)
        # What the run writes elsewhere, to a tracking server say, is typed again for a resume.
        outside = (write_override(f"++{key}", value) for key, value in places_outside(cfg, folder))
        log.warning("  %s", write_command("train", *outside, resume=display_path(folder)))
        raise SystemExit(128 + stop.signal_number) from stop
    finish(cfg, record)
    if source is not None and same_config(source.config, cfg):
        log_whether_reproduced(source, RunFolder(folder))
    return objective_of(record, cfg.objective.returns)


def finish_training(cfg: DictConfig, run: Run, *, started: float, refits: bool) -> dict[str, Any]:
    """Describe a training that has ended, and train again on all rows if that is asked for.

    Args:
        cfg: The run's config.
        run: The run, after `fit`.
        started: When it began to be built, by `time.perf_counter`.
        refits: Whether it is trained again.

    Returns:
        What goes into the run's record.
    """
    best = find_best_callback(run.trainer)
    described = {
        "best": describe_best(best, Path(cfg.run_folder)),
        "seconds": describe_phases(run.model, started),
    }
    training = describe_training(run.trainer, run.model, run.data, best=best, seed=cfg.seed)
    if refits:
        seconds = refit(cfg, run)
        training["refit_seconds"] = round(seconds, 2)
        training["train_seconds"] = round(training["train_seconds"] + seconds, 2)
    return {**described, "training": training}


def fit_further_process() -> float:
    """Train as a further process of several: the first one has chosen the config and the checkpoint.

    Returns:
        The best epoch's score on the validation rows.

    Raises:
        ValueError: If another launcher than the Trainer's has started this process.
    """
    if RUN_VARIABLE not in os.environ:
        raise ValueError(
            "The processes of a run must be started by its Trainer; got one that another launcher started: "
            "run python src/train.py trainer=ddp, without torchrun or srun"
        )
    say_once()
    folder = RunFolder(os.environ[RUN_VARIABLE])
    cfg = folder.config
    cfg.run_folder = str(folder.path)
    checkpoint = folder.last_checkpoint if folder.last_checkpoint.is_file() else None
    run = build_run(cfg)
    best = find_best_callback(run.trainer)
    with suppress(TrainingStopped):
        run.fit(checkpoint)
    return float("nan") if best.best_model_score is None else float(best.best_model_score)


def reproduced_run(cfg: DictConfig) -> RunFolder | None:
    """Find the run that a command reproduces.

    Raises:
        ValueError: If it is also to resume a run, whose folder the reproduced one would take.
    """
    if cfg.reproduce is None:
        return None
    if cfg.resume is not None:
        raise ValueError(
            f"One of reproduce and resume must be null; found reproduce={cfg.reproduce} and "
            f"resume={cfg.resume}: reproduce a run in its own folder, or resume one"
        )
    return RunFolder(cfg.reproduce)


def choose_start(cfg: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, Path | None]:
    """Find out what to train: a new run, a new one with another's config, or an old one to resume.

    Returns:
        The config to train with, and the checkpoint to resume from if there is one.

    Raises:
        ValueError: If the copy that was asked for would take the place of something else.
    """
    if cfg.publish.run is not None:
        check_place(cfg.publish.run, option="publish.run", marker=RECORD, reads=(cfg.run_folder,))
    if cfg.publish.report is not None:
        check_writable(cfg.publish.report, option="publish.report")
    if cfg.reproduce is not None:
        return reproduced_config(RunFolder(cfg.reproduce), cfg, overrides), None
    if cfg.resume is not None and (Path(cfg.run_folder) / CONFIG).is_file():
        config, checkpoint = prepare_resume(RunFolder(cfg.run_folder), cfg, overrides)
        # Copies replace what is there: where they go is what this command says, not what the folder says.
        config.publish = cfg.publish
        return config, checkpoint
    return cfg, None


def finish(cfg: DictConfig, record: dict[str, Any]) -> None:
    """Write the report of a run that has ended, and the copies that were asked for; say how it ended.

    The run's record says that this is done; after a kill before that, the next command does it again.
    """
    folder, report, best = Path(cfg.run_folder), record["training"], record["best"]
    write_json(folder / REPORT, report)
    if cfg.publish.report is not None:
        write_json(cfg.publish.report, report)
    if cfg.publish.run is not None:
        publish(folder, Path(cfg.publish.run))
    if record.pop("published", None) is not None:
        write_json(folder / RECORD, record)
    log.info(
        "Trained %d epochs in %.0f s; best %s %.4f: %s",
        report["epochs"],
        report["train_seconds"],
        best["monitor"],
        best["score"],
        display_path(folder / best["path"]),
    )
    for name, found in report.get("members", {}).items():
        log.info(
            "  %s: weight %.2f, log loss %.4f alone, its gain in the mean %.4f%s",
            name,
            found["weight"],
            found["nll"],
            found["gain"],
            f", of epoch {found['epoch']}" if "epoch" in found else "",
        )
