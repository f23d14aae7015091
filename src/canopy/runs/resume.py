"""Resume a run that was killed, stopped or should train longer: its config, its checkpoint."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf

from canopy.places import display_path
from canopy.quoting import write_command, write_override
from canopy.runs.environment import hash_project_files
from canopy.runs.processes import is_alive, may_still_run, this_host
from canopy.runs.run import RECORD, Run, check_same_data
from canopy.runs.run_folder import check_written_paths, places_outside, unpublished_record
from canopy.runs.trackers import continue_trackers
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.training.callbacks.resume_checkpoint import TrainingStopped
from canopy.training.checkpoint import load_checkpoint

log = logging.getLogger(__name__)

# The devices of a run: on others it has the same weights but for rounding, no longer to the last bit.
DEVICES = ("accelerator", "devices", "num_nodes", "strategy", "precision")

# What may change without making another run of it: how long and where it trains, what it shows and copies.
CHANGEABLE = (
    *(f"trainer.{name}" for name in ("max_epochs", "max_steps", "max_time", *DEVICES, "enable_progress_bar")),
    *(f"callbacks.{name}" for name in ("early_stopping", "progress_bar", "epoch_log", "histograms")),
    "callbacks.resume_checkpoint.every_n_seconds",
    *("data.n_workers", "data.eval_batch_size", "n_threads", "publish"),
)


def resumed_config(run: Run, composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Take a run's config, with the overrides of the command that resumes it and what they composed."""
    config = run.config
    started_with = run.record.get("commands", [{"overrides": []}])[0]["overrides"]
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, value, text = override.key_or_group, override.value(), override.input_line
        is_changeable = any(key == allowed or key.startswith(f"{allowed}.") for allowed in CHANGEABLE)
        if is_changeable and not override.is_delete():
            OmegaConf.update(config, key, value, force_add=True)
        elif key == "trainer" and isinstance(value, str):
            for name in DEVICES:
                config.trainer[name] = composed.trainer[name]
        elif text not in started_with and (override.is_delete() or OmegaConf.select(config, key) != value):
            raise ValueError(
                f"A resumed run must keep its config; found {text}, which {run.path} does not have: leave it "
                f"out, or start a new run. What may change: {', '.join(CHANGEABLE)}"
            )
    return config


def prepare_resume(run: Run, cfg: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, Path | None]:
    """Give the config to resume a run with, and its last checkpoint if it has saved one."""
    record = run.record
    process = record.get("process", {})
    # Whether a process of another machine still trains, only that machine knows.
    here = record.get("status") == "running" and process["host"] == this_host()
    if here and process["pid"] != os.getpid() and is_alive(process):
        raise ValueError(f"Process {process['pid']} still trains {run.path}: stop it, or start a new run")
    # With `auto` the command is the one that started the run: its config has that, or what changed it later.
    new = [] if cfg.resume == "auto" else [text for text in overrides if not text.startswith("resume=")]
    config = resumed_config(run, cfg, new)
    check_same_data(run, Path(config.data.folder), splits=("train", "val"))
    kept = config.copy()
    config.run_folder = str(run.path)
    typed = OverridesParser.create().parse_overrides(list(overrides))
    check_written_paths(config, run.path, typed=[override.key_or_group for override in typed])
    continue_trackers(config, record)
    state = load_checkpoint(run.last_checkpoint) if run.last_checkpoint.is_file() else None
    if state is not None and record.get("status") == "finished":
        for option, trained in (("max_epochs", state["epoch"] + 1), ("max_steps", state["global_step"])):
            if 0 < (limit := config.trainer.get(option) or -1) <= trained:
                found = f"trainer.{option}={limit} reached in {run.path}: give it more with trainer.{option}"
                raise ValueError(f"A resumed run must have epochs left; got {found}")
    if kept != run.config:
        # So that a kill later on does not undo what this command changes.
        run.save_config(kept)
    # What a run logged before its first checkpoint is logged again.
    config.resume_step = 0 if state is None else state["global_step"]
    return config, None if state is None else run.last_checkpoint


def choose_run_folder(resume: str, default: str) -> str:
    """Give the folder of the run to resume.

    `auto` is the newest run next to the default that the same command started, on the files and data that are
    there now, and that neither finished (with its copies made) nor still trains; without one, the default.
    """
    if resume != "auto":
        return str(Run(resume).path)
    for record_file in sorted(Path(default).parent.glob(f"*/{RECORD}"), reverse=True):
        run = Run(record_file.parent)
        record = run.record
        if (
            (record["status"] != "finished" or unpublished_record(run.path))
            and record["commands"][0]["argv"][1:] == sys.argv[1:]
            and record["files"] == hash_project_files()
            and record["data"] == Schema.load(Path(run.config.data.folder) / SCHEMA_FILE).sha256
            and not may_still_run(record)
        ):
            return str(run.path)
    return default


@contextmanager
def hint_at_resume(cfg: DictConfig) -> Iterator[None]:
    """Turn the stop of a training by a signal into the command's end, with the command that resumes it."""
    try:
        yield
    except TrainingStopped as stop:
        folder = Path(cfg.run_folder)
        # What the run writes elsewhere, to a tracking server say, is typed again for a resume.
        typed = (write_override(f"++{key}", value) for key, value in places_outside(cfg, folder))
        command = write_command("train", *typed, resume=display_path(folder))
        log.warning("Training was %s and its state saved; resume it with:\n  %s", stop, command)
        if stop.signal_number == signal.SIGUSR1 and (job := SLURMEnvironment.job_id()) is not None:
            requeue(str(job))
        raise SystemExit(128 + stop.signal_number) from stop


def requeue(job: str) -> None:
    """Let Slurm start this job again, which it has warned of its end by SIGUSR1 (`sbatch --signal`)."""
    if not any(word.startswith("resume=") for word in sys.argv):
        log.warning(
            "Slurm's job is not requeued, since it would train a new run: add resume=auto to its command"
        )
        return
    if (array := os.environ.get("SLURM_ARRAY_JOB_ID")) is not None:
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if (scontrol := shutil.which("scontrol")) is None or subprocess.run(
        [scontrol, "requeue", job]
    ).returncode:
        log.warning("scontrol could not requeue Slurm's job %s: submit it again", job)
    else:
        log.info("Requeued Slurm's job %s", job)
