"""The runs of tracking servers that a run's loggers write to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from canopy.errors import option_names
from canopy.files import read_json
from canopy.places import display_path
from canopy.runs.environment import git_sha
from canopy.runs.run import RECORD
from canopy.training.loggers.tracker import Tracker, group_of

# Options of loggers that name a run to write to: MLflow's, Weights & Biases' and Trackio's, Comet's.
OPTIONS = ("run_id", "id", "experiment_key")


def start_trackers(
    loggers: Mapping[str, Logger], cfg: DictConfig, overrides: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    """Open the tracked runs of loggers: for the record, by config key, the option and the id of each."""
    found: dict[str, dict[str, str]] = {}
    started: list[Logger] = []
    for key, logger in loggers.items():
        if isinstance(logger, Tracker):
            try:
                logger.start(tags_of(cfg, overrides))
            except BaseException:
                # Nothing is logged to those that have started.
                for other in started:
                    other.finalize("failed")
                raise
            started.append(logger)
        for option in OPTIONS:
            if option in option_names(type(logger)) and logger.version is not None:
                found[key] = {option: str(logger.version)}
    return found


def tags_of(cfg: DictConfig, overrides: Sequence[str]) -> dict[str, str]:
    """Give what a tracked run is found by: experiment, commit, folder, and the sweep that it is of."""
    folder, group = Path(cfg.run_folder), group_of(cfg.run_folder)
    # A resumed run's are those that it was started with.
    record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    typed = record.get("commands", [{"overrides": overrides}])[0]["overrides"]
    chosen = [text.partition("=")[2] for text in typed if text.startswith("experiment=")]
    tags = {
        "experiment": chosen[-1] if chosen else cfg.pipeline.get("train", {}).get("experiment"),
        "git_commit": git_sha(),
        "run_folder": display_path(folder),
        "sweep": group and display_path(group),
    }
    return {key: str(value) for key, value in tags.items() if value}


def continue_trackers(config: DictConfig, record: Mapping[str, Any]) -> None:
    """Let the loggers of a config write to the tracked runs that a run's record names."""
    for key, options in record.get("trackers", {}).items():
        if OmegaConf.select(config, key) is not None:
            OmegaConf.update(config, key, options, force_add=True)
