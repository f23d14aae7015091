"""A worker, which reserves trials and runs each as a job of Hydra, and a trial as its job sees it."""

import itertools
import logging
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.utils import instantiate
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from canopy.errors import MISTAKES
from canopy.places import display_path
from canopy.quoting import quote_value, write_choice, write_override
from canopy.sweep import PRUNED, REASON, RUN, STORAGE_VARIABLE, STUDY_VARIABLE, TRIAL_VARIABLE
from canopy.sweep.plan import Plan, instantiate_part
from canopy.sweep.queue import TrialQueue, counts, heartbeat
from canopy.sweep.storage import open_storage
from canopy.sweep.trials import violations_of

log = logging.getLogger(__name__)


class Worker:
    """One of any number of workers on a study.

    It starts no trial after the deadline; failures count from the trial `first` on, or from the next one.
    """

    def __init__(self, plan: Plan, *, deadline: float, is_first: bool, first: int | None = None) -> None:
        self.plan, self.deadline, self.is_first = plan, deadline, is_first
        self.folder = Path(plan.config.hydra.sweep.dir)
        self.study = optuna.load_study(
            study_name=plan.study_name,
            storage=open_storage(plan.storage),
            sampler=plan.make_sampler(first=is_first),
            pruner=instantiate_part(plan.options.pruner),
        )
        self.first = len(self.study.get_trials(deepcopy=False)) if first is None else first
        self.queue = TrialQueue(
            study=self.study,
            n_trials=plan.n_trials,
            max_retries=plan.options.max_retries,
            bounds=plan.bounds,
            lock=FileLock(self.folder / "queue.lock"),
            shared=not plan.storage.startswith("sqlite"),
        )
        custom = plan.options.custom_search_space
        self._extend = instantiate({"_target_": custom, "_partial_": True}) if custom else None

    def run(self, launcher: Launcher, *, batch_size: int = 1) -> None:
        """Do trials until none is left, a batch at a time, or more have failed than the sweep allows."""
        reserved = self._reserved()
        while batch := list(itertools.islice(reserved, batch_size)):
            with heartbeat(batch):
                overrides = [self._overrides(trial) for trial in batch]
                try:
                    jobs = launcher.launch(overrides, initial_job_idx=batch[0].number)
                except MISTAKES:
                    raise
                except Exception as error:
                    # A plugin's own: what a job raises is in its result.
                    reason = re.split(r"\.\s|\n", str(error).strip())[0]
                    raise ChildProcessError(
                        f"A trial's process must live until it ends; got {type(error).__name__}: {reason}: "
                        "the same command tries again what was not finished"
                    ) from error
            for trial, job in zip(batch, jobs, strict=True):
                self._finish(trial, job)
            self._check_failures()

    def _reserved(self) -> Iterator[optuna.Trial]:
        while time.time() < self.deadline:
            if (trial := self.queue.reserve()) is None:
                return
            yield trial
        log.info("The time of the sweep is over")

    def _overrides(self, trial: optuna.Trial) -> list[str]:
        """Draw a trial's point as the stock plugin does and write it as overrides of its job."""
        plan = self.plan
        for key, value in plan.fixed.items():
            trial.set_user_attr(key, value)
        branch_values: dict[str, Any] = {}
        for key, distribution in plan.space.items():
            trial._suggest(key, distribution)  # noqa: SLF001
        for condition, expected, space, fixed in plan.branches:
            point = {**branch_values, **trial.params, **plan.fixed}
            if condition in point and str(point[condition]) == expected:
                for key, distribution in space.items():
                    trial._suggest(key, distribution)  # noqa: SLF001
                branch_values |= fixed
        if self._extend is not None:
            self._extend(plan.config, trial)
        written = {key: f"{key}={value}" for key, value in {**branch_values, **plan.fixed}.items()}
        written |= {key: write_choice(key, value) for key, value in trial.params.items()}
        # The launcher numbers the jobs of a batch itself, from the first one on.
        template = str(plan.config.hydra.sweep._get_node("subdir"))  # noqa: SLF001 - before it is resolved
        subdir = re.sub(r"\$\{hydra[.:]job\.num\}", str(trial.number), template)
        variables = {STORAGE_VARIABLE: plan.storage, STUDY_VARIABLE: plan.study_name}
        variables[TRIAL_VARIABLE] = str(trial.number)
        return [
            *written.values(),
            *plan.fixed_overrides,
            write_override("hydra.sweep.dir", str(self.folder)),
            f"hydra.sweep.subdir={quote_value(subdir)}",
            *(write_override(f"+hydra.job.env_set.{name}", value) for name, value in variables.items()),
        ]

    def _finish(self, trial: optuna.Trial, job: JobReturn) -> None:
        """Report how a trial ended to the study."""
        try:
            if job.hydra_cfg is not None and (run := Path(job.hydra_cfg.hydra.runtime.output_dir)).is_dir():
                trial.set_user_attr(RUN, display_path(run))
                for key, violation in violations_of(run, self.plan.bounds).items():
                    trial.set_constraint(key, violation)
            # What the job itself, perhaps in another process, has recorded of its trial.
            pruned = PRUNED in self.study.get_trials(deepcopy=False)[trial.number].user_attrs
            state, values = TrialState.PRUNED if pruned else TrialState.COMPLETE, None
            try:
                returned = job.return_value
                values = None if pruned else self._read_values(returned)
            except Exception as error:  # noqa: BLE001 - whatever the user's code raises fails the trial alone
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                log.warning("Trial %d failed: %s", trial.number, reason)
                trial.set_user_attr(REASON, reason)
                state = TrialState.FAIL
            self.study.tell(trial.number, values, state=state)
        except UpdateFinishedTrialError:
            log.warning("Another machine retries trial %d, whose heartbeat had expired", trial.number)

    def _read_values(self, returned: Any) -> list[float]:
        values = [float(value) for value in (returned if isinstance(returned, Sequence) else [returned])]
        if len(values) != (n := len(self.plan.directions)) or not all(map(math.isfinite, values)):
            raise ValueError(f"A trial must return a finite number for each direction, {n}; got {values}")
        return values

    def _check_failures(self) -> None:
        failed = self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        failed = [trial for trial in failed if trial.number >= self.first and counts(trial)]
        allowed = self.plan.options.max_failure_rate * self.plan.n_trials
        if len(failed) > allowed:
            raise ValueError(
                f"At most {allowed:g} of {self.plan.n_trials} trials may fail (max_failure_rate); "
                f"got {len(failed)}, the last with {failed[-1].user_attrs.get(REASON)}"
            )


class JobTrial:
    """The trial that this job, in whichever process, runs; variables of the environment name it."""

    def __init__(self) -> None:
        study = optuna.load_study(
            study_name=os.environ[STUDY_VARIABLE],
            storage=open_storage(os.environ[STORAGE_VARIABLE]),
            # Draws nothing: the trial has its point.
            sampler=optuna.samplers.RandomSampler(),
            pruner=instantiate_part(HydraConfig.get().sweeper.pruner),
        )
        number = int(os.environ[TRIAL_VARIABLE])
        trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)  # noqa: SLF001
        self._trial = optuna.Trial(study, trial_id)
        # Optuna prunes nothing where there are several objectives.
        self._may_prune = len(study.directions) == 1

    def describe(self) -> dict[str, Any]:
        return {"study": self._trial.study.study_name, "number": self._trial.number}

    def name_run(self, folder: Path) -> None:
        """Record where the trial's run is, so that its result is found even if its process dies."""
        self._trial.set_user_attr(RUN, display_path(folder))

    def report(self, value: float, step: int) -> None:
        if self._may_prune:
            # Of several validations in an epoch the last one counts; Optuna would keep the first.
            self._trial._cached_frozen_trial.intermediate_values.pop(step, None)  # noqa: SLF001
            self._trial.report(value, step)

    def should_prune(self) -> bool:
        """Ask the pruner whether the trial is not worth continuing; if so, mark it as pruned."""
        pruned = self._may_prune and self._trial.should_prune()
        if pruned:
            self._trial.set_user_attr(PRUNED, value=True)
        return pruned
