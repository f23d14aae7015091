"""The record of a run, `run.json`: how it was started, on what, how it ended and with what result."""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from canopy.files import write_json, write_text
from canopy.runs import environment
from canopy.runs.keys import flatten
from canopy.runs.processes import this_process
from canopy.runs.run import DIFF, RECORD, Run
from canopy.training.callbacks.best_checkpoint import BestCheckpoint
from canopy.training.callbacks.member_selection import MemberSelection
from canopy.training.callbacks.resume_checkpoint import TrainingStopped
from canopy.training.fit import Training

# What a sweep can optimise of a run's record, next to the metrics of its best epoch.
NUMBERS = {
    *("best.score", "seconds.setup", "seconds.training", "seconds.validation", "training.train_seconds"),
    *("training.rows_per_second", "training.epochs", "training.best_epoch", "training.n_parameters"),
    *("training.batch_size", "training.n_threads", "training.refit_seconds"),
}


@contextmanager
def record_run(
    folder: Path, *, overrides: Sequence[str], seed: int, step: int | None = None, trackers: Any = None
) -> Iterator[dict[str, Any]]:
    """Keep a run's record while a block trains it; what the block adds to it is written when it ends.

    The status is `running` until then (a killed process cannot change it), afterwards `finished` or what the
    block sets, `stopped` or `failed`. A resumed run's keeps its start and lists each command.
    """
    earlier, started = Run(folder).record, datetime.now(UTC).isoformat(timespec="seconds")
    commit, diff = environment.git_sha(), environment.git_diff()
    if diff:
        write_text(folder / DIFF, diff)
    command = {"argv": sys.argv, "overrides": [*overrides], "started": started, "step": step or 0}
    record = {
        "format": 1,
        "status": "running",
        "name": folder.name,
        "started": earlier.get("started", started),
        "commands": [*earlier.get("commands", []), {**command, "commit": commit}],
        "process": this_process(),
        "git": {"commit": commit, "dirty": bool(diff)},
        "data": Run(folder).schema.sha256,
        "files": environment.hash_project_files(),
        "machine": environment.describe_machine(),
        "packages": environment.list_packages(),
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
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        record |= {"ended": ended, **environment.peak_memory()}
        write_json(folder / RECORD, record)


def describe_result(training: Training, *, folder: Path, seed: int, started: float) -> dict[str, Any]:
    """Describe a training that has ended, for the run's record.

    The seconds are wall time, also that before a resume but for the setup; the batch size is a device's.
    """
    best = training.callback(BestCheckpoint)
    if best is None or best.best_model_score is None:
        raise ValueError("Validation chooses the best epoch; got none before training ended: train longer")
    model, trainer, device = training.model, training.trainer, training.trainer.strategy.root_device
    seconds = model.train_seconds
    report = {
        "train_seconds": round(seconds, 2),
        "rows_per_second": round(model.n_rows_trained * trainer.world_size / seconds),
        "epochs": trainer.current_epoch,
        "best_epoch": best.best_epoch,
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "batch_size": training.data.batch_size,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "n_threads": torch.get_num_threads(),
        "seed": seed,
        "git_sha": environment.git_sha(),
    }
    if (selection := training.callback(MemberSelection)) is not None:
        report["members"] = selection.found[best.best_epoch]
    return {
        "best": {
            "path": str(Path(best.best_model_path).relative_to(folder.resolve())),
            "monitor": str(best.monitor),
            "score": float(best.best_model_score),
            "metrics": best.best_metrics,
        },
        "seconds": {
            "setup": round(model.started - started, 2),
            "training": round(seconds - model.validation_seconds, 2),
            "validation": round(model.validation_seconds, 2),
        },
        "training": report,
    }


def check_returns(keys: Sequence[str] | None) -> None:
    """Refuse keys of `objective.returns` that no `run.json` will have, before a run is trained."""
    _require_numbers(keys or (), {key for key in keys or () if key.startswith("best.metrics.")} | NUMBERS)


def objective_of(record: dict[str, Any], keys: Sequence[str] | None) -> float | tuple[float, ...]:
    """Read what a sweep optimises from a run's record: its best score, or the number of each dotted key."""
    if keys is None:
        return float(record["best"]["score"])
    numbers = {key: value for key, value in flatten(record).items() if isinstance(value, int | float)}
    _require_numbers(keys, numbers)
    return tuple(float(numbers[key]) for key in keys)


def _require_numbers(keys: Sequence[str], numbers: Collection[str]) -> None:
    if missing := [key for key in keys if key not in numbers]:
        found = f"{', '.join(missing)}: such as best.score"
        raise ValueError(f"objective.returns must name numbers of run.json; found {found}")
