"""Runs in Trackio."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from canopy.tracking import require_extra
from canopy.training.loggers.tracker import Tracker, group_of


class TrackioLogger(Logger, Tracker):
    """A run of Trackio, which Lightning has no logger for; those of a sweep are a group.

    Args:
        folder: Folder of the run, which names it.
        project: Project of Trackio.
        id: Name of the run to continue; None for a new one.
        options: Those of `trackio.init`, such as `space_id` or `server_url`.
    """

    def __init__(self, folder: str, *, project: str, id: str | None = None, **options: Any) -> None:  # noqa: A002
        require_extra("trackio", option="logger=trackio")
        super().__init__()
        self._group, self._project, self._options = group_of(folder), project, options
        names = [Path(folder).name] if self._group is None else [self._group.name, Path(folder).name]
        self._id, self._is_new = id or "_".join(names), id is None
        self._run: Any = None

    @property
    def name(self) -> str:
        return self._project

    @property
    def version(self) -> str:
        return self._id

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run as Trackio has it."""
        if self._run is None:
            import trackio

            group, resume = self._group and self._group.name, "never" if self._is_new else "must"
            self._run = trackio.init(
                self._project, self._id, group=group, resume=resume, embed=False, **self._options
            )
            self._is_new = False
        return self._run

    @rank_zero_only
    def start(self, tags: Mapping[str, str]) -> None:
        # Also of a resumed run, whose config is written anew.
        self.experiment.config["tags"] = dict(tags)

    @rank_zero_only
    def log_config(self, config: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> None:
        self.experiment.config.update(config)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.experiment.config.update(params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.experiment.log(dict(metrics), step)

    @rank_zero_only
    def log_plot(self, name: str, path: Path, step: int) -> None:
        import trackio

        self.log_metrics({name: trackio.Image(path)}, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._run is not None:
            import trackio

            trackio.finish()
            self._run = None
