"""A worker: takes trials one after the other, runs each as a job of Hydra, reports the result."""

import contextlib
import gc
import itertools
import logging
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.utils import instantiate
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from canopy.places import display_path
from canopy.quoting import quote_value, write_choice, write_override
from canopy.sweep import STORAGE_VARIABLE, STUDY_VARIABLE, TRIAL_VARIABLE
from canopy.sweep.attributes import PRUNED, REASON, RUN, VIOLATIONS
from canopy.sweep.claim import TrialQueue, counts, heartbeat, tell_end
from canopy.sweep.constraints import violations_of
from canopy.sweep.plan import Plan
from canopy.sweep.storage import open_storage
from canopy.sweep.study import storage_url

log = logging.getLogger(__name__)


class TooManyFailuresError(ValueError):
    """More trials have failed than the sweep allows."""


class Worker:
    """One of any number of workers on a study.

    Args:
        plan: The sweep.
        folder: Folder of its runs.
        deadline: Time from which no trial is started any more; None for none.
        is_first: Whether it is the first worker of a new study.
        first: Number of the first trial whose failure counts for the command; the next one if None.
    """

    def __init__(
        self, plan: Plan, *, folder: Path, deadline: float | None, is_first: bool, first: int | None = None
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.deadline = deadline
        self.is_first = is_first
        self.url = storage_url(plan, folder)
        study = optuna.load_study(study_name=plan.study_name, storage=open_storage(self.url))
        self.first = len(study.get_trials(deepcopy=False)) if first is None else first
        study.sampler = plan.make_sampler(first=is_first)
        study.pruner = plan.make_pruner()
        self.study = study
        self.claims = TrialQueue(
            study,
            n_trials=plan.n_trials,
            max_retries=plan.max_retries,
            bounds=plan.constraints,
            lock=folder / "claims.lock",
            shared=not self.url.startswith("sqlite"),
        )
        self._extend = _custom_search_space(plan)

    def run(self, launcher: Launcher) -> None:
        """Do trials until none is left.

        Raises:
            TooManyFailuresError: If more have failed than the sweep allows.
        """
        for trial in self._claimed():
            with heartbeat(trial):
                (job,) = launcher.launch([self._overrides(trial)], initial_job_idx=trial.number)
            self._finish(trial, job)
            if not gc.get_freeze_count():
                # What the first trial imported stays: without this the collector looks through all of it
                # every ten trials or so, which takes as long as what else a trial costs.
                gc.freeze()

    def run_batches(self, launcher: Launcher, *, batch_size: int) -> None:
        """Do trials a batch at a time, with a launcher that runs jobs elsewhere.

        Raises:
            TooManyFailuresError: If more have failed than the sweep allows, after the whole batch.
        """
        claimed = iter(self._claimed())
        template = str(self.plan.config.hydra.sweep._get_node("subdir"))  # noqa: SLF001 - before it is resolved
        # Not zip, which would take one trial more than it gives.
        while batch := list(itertools.islice(claimed, batch_size)):
            with contextlib.ExitStack() as signs:
                overrides = []
                for trial in batch:
                    signs.enter_context(heartbeat(trial))
                    # The launcher numbers its jobs itself, from the first one on.
                    subdir = re.sub(r"\$\{hydra[.:]job\.num\}", str(trial.number), template)
                    overrides.append([*self._overrides(trial), f"hydra.sweep.subdir={quote_value(subdir)}"])
                jobs = launcher.launch(overrides, initial_job_idx=batch[0].number)
            too_many = None
            for trial, job in zip(batch, jobs, strict=True):
                try:
                    self._finish(trial, job)
                except TooManyFailuresError as error:
                    too_many = error
            if too_many is not None:
                raise too_many

    def _claimed(self) -> Iterable[optuna.Trial]:
        while self.deadline is None or time.time() < self.deadline:
            trial = self.claims.claim()
            if trial is None:
                return
            yield trial
        log.info("The time of the sweep is over")

    def _overrides(self, trial: optuna.Trial) -> list[str]:
        """Draw a trial's point and write it as overrides of its job."""
        plan = self.plan
        for key, distribution in plan.space.items():
            trial._suggest(key, distribution)  # noqa: SLF001 - as the stock plugin does
        for key, value in plan.fixed.items():
            trial.set_user_attr(key, value)
        branch_values: dict[str, Any] = {}
        for branch in plan.branches:
            if branch.holds({**branch_values, **trial.params, **plan.fixed}):
                for key, distribution in branch.space.items():
                    trial._suggest(key, distribution)  # noqa: SLF001 - as above
                branch_values |= branch.fixed
        if self._extend is not None:
            self._extend(plan.config, trial)
        overlap = trial.params.keys() & plan.fixed.keys()
        if overlap:
            raise ValueError(
                f"The custom search space must leave out what is fixed; found {', '.join(sorted(overlap))}"
            )
        variables = {
            STORAGE_VARIABLE: self.url,
            STUDY_VARIABLE: plan.study_name,
            TRIAL_VARIABLE: str(trial.number),
        }
        written = {key: f"{key}={value}" for key, value in {**branch_values, **plan.fixed}.items()}
        written |= {key: write_choice(key, value) for key, value in trial.params.items()}
        return [
            *written.values(),
            *plan.fixed_overrides,
            write_override("hydra.sweep.dir", str(self.folder)),
            *(write_override(f"+hydra.job.env_set.{name}", value) for name, value in variables.items()),
        ]

    def _finish(self, trial: optuna.Trial, job: JobReturn) -> None:
        """Tell the study how a trial ended."""
        try:
            self._tell_end(trial, job)
        except UpdateFinishedTrialError:
            log.warning(
                "Another machine found the heartbeat of trial %d expired; it is tried again",
                trial.number,
            )

    def _tell_end(self, trial: optuna.Trial, job: JobReturn) -> None:
        if job.hydra_cfg is not None and (run := Path(job.hydra_cfg.hydra.runtime.output_dir)).is_dir():
            trial.set_user_attr(RUN, display_path(run))
            if (violations := violations_of(run, self.plan.constraints)) is not None:
                trial.set_user_attr(VIOLATIONS, violations)
        try:
            values = self._values(job)
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises fails the trial alone
            self._fail(trial, error)
            return
        # What the job itself, perhaps in another process, has said of its trial.
        if PRUNED in self.study.get_trials(deepcopy=False)[trial.number].user_attrs:
            tell_end(self.study, trial, TrialState.PRUNED)
            return
        if not all(map(math.isfinite, values)):
            self._fail(trial, ValueError(f"A trial must return a finite number; found {values}"))
            return
        tell_end(self.study, trial, TrialState.COMPLETE, values)

    def _values(self, job: JobReturn) -> list[float]:
        """Read what a job returned; raises what it raised."""
        returned = job.return_value
        if job.status == JobStatus.UNKNOWN:
            raise ValueError("A job must end; found it did not")
        n = len(self.plan.directions)
        several = list(returned) if isinstance(returned, Sequence) else [returned]
        if len(several) != n:
            raise ValueError(
                f"A trial must return as many values as there are directions, {n}; found {len(several)}"
            )
        return [float(value) for value in several]

    def _fail(self, trial: optuna.Trial, error: Exception) -> None:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        log.warning("Trial %d failed: %s", trial.number, reason)
        trial.set_user_attr(REASON, reason)
        tell_end(self.study, trial, TrialState.FAIL)
        failed = [
            other
            for other in self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
            if other.number >= self.first and counts(other)
        ]
        allowed = self.plan.max_failure_rate * self.plan.n_trials
        if len(failed) > allowed:
            raise TooManyFailuresError(
                f"At most {allowed:g} of {self.plan.n_trials} trials may fail "
                f"(hydra.sweeper.max_failure_rate={self.plan.max_failure_rate}); found {len(failed)}, the "
                f"last with {reason}"
            ) from error


def _custom_search_space(plan: Plan) -> Callable[[Mapping[str, Any], optuna.Trial], None] | None:
    if plan.custom_search_space is None:
        return None
    made: Callable[[Mapping[str, Any], optuna.Trial], None] = instantiate(
        {"_target_": plan.custom_search_space, "_partial_": True}
    )
    return made
