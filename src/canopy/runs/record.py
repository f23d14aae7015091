"""The record of a run, `run.json`: how it was started, on what, and how it ended."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from canopy.errors import option_names
from canopy.files import write_json, write_text
from canopy.runs.environment import (
    describe_machine,
    git_diff,
    git_sha,
    hash_project_files,
    list_packages,
    peak_gpu_memory_mib,
    peak_memory_mib,
)
from canopy.runs.process import this_process
from canopy.runs.run import DIFF, RECORD, Run
from canopy.training.callbacks.resume_checkpoint import TrainingStopped

FORMAT = 1

# Options of loggers that name a run to write to: MLflow's, Weights & Biases', Comet's.
TRACKER_OPTIONS = ("run_id", "id", "experiment_key")


@contextmanager
def record_run(
    folder: Path,
    *,
    overrides: Sequence[str],
    seed: int,
    step: int | None = None,
    trackers: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[dict[str, Any]]:
    """Keep a run's record while a block trains it.

    Args:
        folder: The run's folder.
        overrides: What the command line changed.
        seed: Seed of the run.
        step: Step that a run is resumed from; None for a new run.
        trackers: What `tracked_runs` gives.

    Yields:
        The record; what the block adds to it is written when the block ends. The status is `running`
        until then (a killed process cannot change it), afterwards `finished` or what the block sets,
        `stopped` or `failed`. A resumed run's keeps its start and lists each command.
    """
    run, started = Run(folder), now()
    commit, diff = git_sha(), git_diff()
    if diff:
        write_text(folder / DIFF, diff)
    command = {"argv": sys.argv, "overrides": [*overrides], "started": started, "step": step or 0}
    record = {
        "format": FORMAT,
        "status": "running",
        "name": folder.name,
        "started": run.record.get("started", started),
        "commands": [*run.record.get("commands", []), {**command, "commit": commit}],
        "process": this_process(),
        "git": {"commit": commit, "dirty": bool(diff)},
        "data": run.schema.sha256,
        "files": hash_project_files(),
        "machine": describe_machine(),
        "packages": list_packages(),
        "seed": seed,
        **({"trackers": trackers} if trackers else {}),
    }
    write_json(folder / RECORD, record)
    try:
        yield record
        if record["status"] == "running":
            record["status"] = "finished"
    except (TrainingStopped, KeyboardInterrupt) as stop:
        record |= {"status": "stopped", "reason": str(stop) or type(stop).__name__}
        raise
    except BaseException as error:
        record |= {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
        raise
    finally:
        record["ended"] = now()
        record["peak_memory_mib"] = peak_memory_mib()
        record["peak_gpu_memory_mib"] = peak_gpu_memory_mib()
        write_json(folder / RECORD, record)


def tracked_runs(loggers: Mapping[str, Logger]) -> dict[str, dict[str, str]]:
    """Find the runs that loggers of tracking servers write to.

    Args:
        loggers: Loggers by their keys in the config.

    Returns:
        For each that can write to a run that exists: the option that names the run, and the run's id.
    """
    found = {}
    for key, logger in loggers.items():
        options = [name for name in TRACKER_OPTIONS if name in option_names(type(logger))]
        if options and logger.version is not None:
            found[key] = {options[0]: str(logger.version)}
    return found


def now() -> str:
    """Give the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
