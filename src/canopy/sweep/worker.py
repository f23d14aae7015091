"""A worker: reserves trials one after the other, runs each as a job of Hydra, reports the result."""

import gc
import itertools
import logging
import math
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.utils import instantiate
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from canopy.places import display_path
from canopy.quoting import quote_value, write_choice, write_override
from canopy.sweep import PRUNED, REASON, RUN, STORAGE_VARIABLE, STUDY_VARIABLE, TRIAL_VARIABLE
from canopy.sweep.outcome import violations_of
from canopy.sweep.plan import Plan, make_pruner
from canopy.sweep.queue import TrialQueue, counts, heartbeat, tell_end
from canopy.sweep.storage import open_storage, storage_url

log = logging.getLogger(__name__)


class TooManyFailuresError(ValueError):
    """More trials have failed than the sweep allows."""


class Worker:
    """One of any number of workers on a study.

    Args:
        plan: The sweep.
        folder: Folder of its runs.
        deadline: Time from which no trial is started any more.
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
        self.study = optuna.load_study(
            study_name=plan.study_name,
            storage=open_storage(self.url),
            sampler=plan.make_sampler(first=is_first),
            pruner=make_pruner(plan.options.pruner),
        )
        self.first = len(self.study.get_trials(deepcopy=False)) if first is None else first
        self.queue = TrialQueue(
            study=self.study,
            n_trials=plan.n_trials,
            max_retries=plan.options.max_retries,
            bounds=plan.bounds,
            lock=FileLock(folder / "queue.lock"),
            shared=not self.url.startswith("sqlite"),
        )
        custom = plan.options.custom_search_space
        self._extend = instantiate({"_target_": custom, "_partial_": True}) if custom else None

    def run(self, launcher: Launcher, *, batch_size: int = 1) -> None:
        """Do trials until none is left, a batch at a time.

        Raises:
            TooManyFailuresError: If more have failed than the sweep allows, after the whole batch.
        """
        reserved = self._reserved()
        while batch := list(itertools.islice(reserved, batch_size)):
            with heartbeat(batch):
                overrides = [self._overrides(trial) for trial in batch]
                jobs = launcher.launch(overrides, initial_job_idx=batch[0].number)
            for trial, job in zip(batch, jobs, strict=True):
                self._finish(trial, job)
            self._check_failures()
            if not gc.get_freeze_count():
                # What the first trial imported stays: without this the collector looks through all of it
                # every ten trials or so, which takes as long as what else a trial costs.
                gc.freeze()

    def _reserved(self) -> Iterator[optuna.Trial]:
        while self.deadline is None or time.time() < self.deadline:
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
        for branch in plan.branches:
            if branch.holds({**branch_values, **trial.params, **plan.fixed}):
                for key, distribution in branch.space.items():
                    trial._suggest(key, distribution)  # noqa: SLF001
                branch_values |= branch.fixed
        if self._extend is not None:
            self._extend(plan.config, trial)
        variables = {STORAGE_VARIABLE: self.url, STUDY_VARIABLE: plan.study_name}
        variables[TRIAL_VARIABLE] = str(trial.number)
        written = {key: f"{key}={value}" for key, value in {**branch_values, **plan.fixed}.items()}
        written |= {key: write_choice(key, value) for key, value in trial.params.items()}
        # The launcher numbers the jobs of a batch itself, from the first one on.
        template = str(plan.config.hydra.sweep._get_node("subdir"))  # noqa: SLF001 - before it is resolved
        subdir = re.sub(r"\$\{hydra[.:]job\.num\}", str(trial.number), template)
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
            try:
                returned = job.return_value
                # What the job itself, perhaps in another process, has recorded of its trial.
                pruned = PRUNED in self.study.get_trials(deepcopy=False)[trial.number].user_attrs
                values = None if pruned else self._read_values(returned)
            except Exception as error:  # noqa: BLE001 - whatever the user's code raises fails the trial alone
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                log.warning("Trial %d failed: %s", trial.number, reason)
                trial.set_user_attr(REASON, reason)
                tell_end(self.study, trial.number, TrialState.FAIL)
            else:
                state = TrialState.PRUNED if pruned else TrialState.COMPLETE
                tell_end(self.study, trial.number, state, values)
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
            reason = failed[-1].user_attrs.get(REASON)
            raise TooManyFailuresError(
                f"At most {allowed:g} of {self.plan.n_trials} trials may fail (max_failure_rate); "
                f"got {len(failed)}, the last with {reason}"
            )
