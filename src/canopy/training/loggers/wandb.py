"""Runs in Weights & Biases."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from canopy.tracking import require_extra
from canopy.training.loggers.tracker import Tracker, group_of


class TrackedWandbLogger(WandbLogger, Tracker):
    """A run of Weights & Biases; those of a sweep are a group.

    Args:
        folder: Folder of the run, which names it; what is not on the server yet is in its folder `wandb`.
        project: Project of Weights & Biases.
        id: Run to continue; None for a new one.
        options: Those of `wandb.init`, such as `entity`.
    """

    def __init__(self, folder: str, *, project: str, id: str | None = None, **options: Any) -> None:  # noqa: A002
        require_extra("wandb", option="logger=wandb")
        # Otherwise it reports its own errors to its makers.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        from wandb.sdk.lib.runid import generate_id

        self._is_new, group = id is None, group_of(folder)
        options |= {} if group is None else {"group": group.name}
        super().__init__(Path(folder).name, folder, id=id or generate_id(), project=project, **options)
        # Weights & Biases warns of an option that it does not have any more.
        self._wandb_init.pop("anonymous", None)

    @rank_zero_only
    def start(self, tags: Mapping[str, str]) -> None:
        import wandb

        try:
            run = self.experiment
        except (wandb.errors.Error, OSError) as error:
            raise ConnectionError(
                f"logger=wandb needs a server that answers, and its key; got {' '.join(str(error).split())}: "
                'run "wandb login", or set WANDB_MODE=offline'
            ) from error
        if self._is_new:
            run.config.update({"tags": dict(tags)})
            run.tags = (*(run.tags or ()), *([tags["experiment"][:64]] if "experiment" in tags else []))

    @rank_zero_only
    def log_config(self, config: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> None:
        self.experiment.config.update(dict(config), allow_val_change=True)

    @rank_zero_only
    def log_plot(self, name: str, path: Path, step: int) -> None:
        self.log_image(name, [str(path)], step=step)

    @rank_zero_only
    def save(self) -> None:
        if self._experiment is not None:
            # It waits until all that was logged has left this process, which may be killed.
            self._experiment.summary.keys()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        super().finalize(status)
        # Otherwise the next run of this process would continue this one.
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(status != "success"))
            self._experiment = None
