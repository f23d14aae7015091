"""Resume a run that was killed, stopped or should train longer: its config, its checkpoint."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from canopy.runs.environment import hash_project_files
from canopy.runs.process import is_alive, trains_elsewhere
from canopy.runs.run import RECORD, Run, check_same_data
from canopy.runs.run_folder import unpublished_record
from canopy.runs.written_paths import check_written_paths
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.training.checkpoint import load_checkpoint

# The devices of a run: on others it has the same weights but for rounding, no longer to the last bit.
DEVICES = ("accelerator", "devices", "strategy", "precision")

# What may change without making another run of it: how long and where it trains, what it shows and copies.
CHANGEABLE = (
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    *(f"trainer.{name}" for name in DEVICES),
    "trainer.enable_progress_bar",
    "callbacks.early_stopping",
    "callbacks.progress_bar",
    "callbacks.epoch_log",
    "callbacks.histograms",
    "callbacks.resume_checkpoint.every_n_seconds",
    "data.n_workers",
    "n_threads",
    "data.eval_batch_size",
    "publish",
)


def resumed_config(run: Run, composed: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Take a run's config, with the overrides of the command that resumes it.

    Args:
        run: The run.
        composed: The config of that command, which has the values of the group `trainer` that it chose.
        overrides: Overrides as on the command line, `resume` left out.

    Returns:
        The config to resume with.

    Raises:
        ValueError: If an override contradicts the run's config and is none of `CHANGEABLE`.
    """
    config = run.config
    started_with = run.record.get("commands", [{"overrides": []}])[0]["overrides"]
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, value = override.key_or_group, override.value()
        if _changeable(key) and not override.is_delete():
            OmegaConf.update(config, key, value, force_add=True)
        elif key == "trainer" and isinstance(value, str):
            for name in DEVICES:
                config.trainer[name] = composed.trainer[name]
        elif override.input_line not in started_with:
            _require_same(run, config, override)
    return config


def prepare_resume(
    run: Run, composed: DictConfig, overrides: Sequence[str]
) -> tuple[DictConfig, Path | None]:
    """Find out how to resume a run.

    Args:
        run: The run.
        composed: The config of the command that resumes it.
        overrides: Overrides of that command.

    Returns:
        The config to resume with, and the checkpoint; None if the run had not saved one yet.

    Raises:
        ValueError: If the run is finished or still trains, was trained on other data, would write elsewhere
            than into its folder, or an override contradicts it.
    """
    if trains_elsewhere(run.record):
        raise ValueError(
            f"A run to resume must not be training; found that process {run.record['process']['pid']} "
            f"still trains {run.path}: stop it first, or start a new run"
        )
    # With `auto` the command is the one that started the run: what it says is in the run's config already,
    # or was changed by a later command.
    new = [] if composed.resume == "auto" else [text for text in overrides if not text.startswith("resume=")]
    config = resumed_config(run, composed, new)
    check_same_data(run, Path(config.data.folder), splits=("train", "val"))
    kept = config.copy()
    config.run_folder = str(run.path)
    typed = OverridesParser.create().parse_overrides(list(overrides))
    check_written_paths(config, run.path, typed=[override.key_or_group for override in typed])
    for key, options in run.record.get("trackers", {}).items():
        if OmegaConf.select(config, key) is not None:
            OmegaConf.update(config, key, options, force_add=True)
    # What a run logged before its first checkpoint is logged again.
    config.resume_step = 0
    state = load_checkpoint(run.last_checkpoint) if run.last_checkpoint.is_file() else None
    if state is not None and run.record.get("status") == "finished":
        for option, trained in (("max_epochs", state["epoch"] + 1), ("max_steps", state["global_step"])):
            limit = config.trainer.get(option)
            if limit not in (None, -1) and trained >= limit:
                raise ValueError(
                    f"A resumed run must have epochs left; got trainer.{option}={limit} reached in "
                    f"{run.path}: give it more with trainer.{option}"
                )
    if kept != run.config:
        # So that a kill later on does not undo what this command changes.
        run.save_config(kept)
    if state is None:
        return config, None
    config.resume_step = state["global_step"]
    return config, run.last_checkpoint


def choose_run_folder(resume: str | None, default: str) -> str:
    """Choose where a run's files go: in the folder of the resumed run, or in a new one.

    Args:
        resume: Folder of a run; `auto` for the newest run that the same command started on the same data
            and did not finish; None for a new run.
        default: Folder of a new run.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If the folder that is named holds no run.
    """
    if resume is None:
        return default
    if resume == "auto":
        unfinished = find_unfinished(Path(default).parent, sys.argv[1:])
        return default if unfinished is None else str(unfinished.path)
    return str(Run(resume).path)


def find_unfinished(runs: Path, arguments: Sequence[str]) -> Run | None:
    """Find the newest run that a command started and did not finish.

    Args:
        runs: Folder with run folders.
        arguments: The command's arguments.

    Returns:
        The newest run that was started with the same arguments, on the files and data that are there now,
        and is neither finished, with its copies made, nor still running.
    """
    for record_file in sorted(runs.glob(f"*/{RECORD}"), reverse=True):
        run = Run(record_file.parent)
        record = run.record
        if (
            (record["status"] != "finished" or unpublished_record(run.path))
            and record["commands"][0]["argv"][1:] == list(arguments)
            and record["files"] == hash_project_files()
            and record["data"] == Schema.load(Path(run.config.data.folder) / SCHEMA_FILE).sha256
            and not is_alive(record["process"])
        ):
            return run
    return None


def _changeable(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in CHANGEABLE)


def _require_same(run: Run, config: DictConfig, override: Override) -> None:
    key, asked = override.key_or_group, override.value()
    missing: Any = object()
    kept = OmegaConf.select(config, key, default=missing)
    # A group's choice is not in the config that it was composed to.
    known = kept is not missing and not isinstance(kept, DictConfig)
    if known and kept == asked and not override.is_delete():
        return
    found = f"which the run has as {kept!r}" if known else "which cannot be compared with the run's config"
    raise ValueError(
        f"A resumed run must keep its config; found {override.input_line}, {found}: leave it out, or start "
        f"a new run. What may change in {run.path}: {', '.join(CHANGEABLE)}"
    )
