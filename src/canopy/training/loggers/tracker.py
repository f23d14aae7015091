"""What the loggers of tracking servers have in common."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What the folders of a multirun and of a cross-validation hold, next to those of their runs.
GROUP_FILES = ("multirun.yaml", "cross_validation.yaml")


class Tracker:
    """A logger of Lightning that also takes a run's tags, its config and its plots."""

    def start(self, tags: Mapping[str, str]) -> None:
        """Create the tracked run, with its tags, or open the one to continue.

        Raises:
            ConnectionError: If the server does not answer, or refuses.
        """
        raise NotImplementedError

    def log_config(self, config: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> None:
        """Log the whole config, and what runs are compared by under dotted keys."""
        raise NotImplementedError

    def log_plot(self, name: str, path: Path, step: int) -> None:
        """Log a plot that is at a path, as a PNG file."""
        raise NotImplementedError


def group_of(folder: str | Path) -> Path | None:
    """Give the folder of the multirun or cross-validation that a run's folder is in; None if in none."""
    above = Path(folder).resolve().parent
    return above if any((above / name).is_file() for name in GROUP_FILES) else None
