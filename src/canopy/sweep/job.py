"""A trial as the job sees it that runs it, in whichever process."""

import os
from pathlib import Path
from typing import Any

import optuna
from hydra.core.hydra_config import HydraConfig

from canopy.places import display_path
from canopy.sweep import PRUNED, RUN, STORAGE_VARIABLE, STUDY_VARIABLE, TRIAL_VARIABLE
from canopy.sweep.plan import make_pruner
from canopy.sweep.storage import open_storage


class JobTrial:
    """The trial that this job runs, named by variables of the environment."""

    def __init__(self) -> None:
        self.number = int(os.environ[TRIAL_VARIABLE])
        self._study = optuna.load_study(
            study_name=os.environ[STUDY_VARIABLE],
            storage=open_storage(os.environ[STORAGE_VARIABLE]),
            pruner=make_pruner(HydraConfig.get().sweeper.pruner),
        )
        # An optuna.Trial would draw its point anew.
        self._storage = self._study._storage  # noqa: SLF001
        self._id = self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, self.number)  # noqa: SLF001

    def describe(self) -> dict[str, Any]:
        """Name the trial, for the record of its run."""
        return {"study": self._study.study_name, "number": self.number}

    def name_run(self, folder: Path) -> None:
        """Record where the trial's run is, so that its result is found even if its process dies."""
        self._storage.set_trial_user_attr(self._id, RUN, display_path(folder))

    def report(self, value: float, step: int) -> None:
        """Keep an intermediate value of the objective, reached after `step` epochs; of several, none."""
        if len(self._study.directions) == 1:
            self._storage.set_trial_intermediate_value(self._id, step, value)

    def should_prune(self) -> bool:
        """Ask the pruner whether the trial is worth continuing; if not, mark it as pruned."""
        if len(self._study.directions) > 1:
            return False
        pruned = self._study.pruner.prune(self._study, self._storage.get_trial(self._id))
        if pruned:
            self._storage.set_trial_user_attr(self._id, PRUNED, value=True)
        return pruned
