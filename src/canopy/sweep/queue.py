"""The queue of trials: exactly-once scheduling, also when a process dies.

Optuna's own heartbeat finds a dead process only after its grace period and ends with the first write that
fails; this one finds a dead process of the same machine at once and outlasts a database that is out of reach.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from canopy.runs.processes import is_alive, this_host, this_process
from canopy.sweep import FROM_STUDY, HEARTBEAT, KILLED, N_RETRIES, REASON, RETRY_OF, RUN, SURPLUS, WORKER
from canopy.sweep.trials import result_of, violations_of

log = logging.getLogger(__name__)

# Seconds between heartbeats of a worker; one of another machine without any for so long is dead.
HEARTBEAT_SECONDS = 30
HEARTBEAT_TIMEOUT_SECONDS = 300


@dataclass(kw_only=True)
class TrialQueue:
    """The trials of one study, handed out to any number of workers."""

    study: optuna.Study
    n_trials: int
    max_retries: int
    # Held by a worker of this machine while it reserves a trial.
    lock: FileLock
    # Whether other machines may have workers.
    shared: bool
    bounds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The grid sampler stops a study that is through, which only Optuna's own loop allows.
        self.study.stop = lambda: None  # type: ignore[method-assign]

    def reserve(self) -> optuna.Trial | None:
        """Take the next trial; None if there is nothing left to do."""
        with self.lock:
            self.recover()
            if self.n_left() <= 0:
                return None
            trial = self.study.ask()
            trial.set_user_attr(WORKER, this_process())
            trial.set_user_attr(HEARTBEAT, time.time())
        # Another machine, which this lock does not hold, may have taken the last one at the same time.
        trials = self.study.get_trials(deepcopy=False)
        earlier = sum(counts(other) and other.number < trial.number for other in trials)
        if earlier >= self.n_trials:
            trial.set_user_attr(SURPLUS, value=True)
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        return trial

    def n_left(self) -> int:
        """Count the trials that are neither done nor running."""
        return self.n_trials - sum(map(counts, self.study.get_trials(deepcopy=False)))

    def recover(self) -> None:
        """Report trials whose process died: the result of a run that had ended, else the failure."""
        with self.lock:
            trials = self.study.get_trials(deepcopy=False)
            for trial in trials:
                dead = trial.state == TrialState.RUNNING and not self._is_alive(trial)
                if dead and not self._complete(trial):
                    self.fail_and_queue(trial)
            retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
            for trial in trials:
                killed = trial.state == TrialState.FAIL and KILLED in trial.user_attrs
                age = time.time() - float(trial.user_attrs.get(KILLED, 0))
                has_just_ended = self.shared and age < HEARTBEAT_TIMEOUT_SECONDS
                # Who found it dead has died, too, or is another machine that is about to queue it again.
                if killed and trial.number not in retried and not has_just_ended:
                    self._queue_again(trial)

    def _complete(self, dead: FrozenTrial) -> bool:
        """Report the result of a run that had ended before its process died; False if it had not."""
        if (result := result_of(dead, study=self.study.study_name)) is None:
            return False
        storage = self.study._storage  # noqa: SLF001
        violations = violations_of(Path(dead.user_attrs[RUN]), self.bounds)
        # Another machine may do the same at this moment.
        with suppress(UpdateFinishedTrialError, ValueError):
            # What Trial.set_constraint does.
            for key, violation in violations.items():
                storage.set_trial_system_attr(dead._trial_id, f"constraints:{key}", violation)  # noqa: SLF001
            state, values = result
            self.study.tell(dead.number, values, state=state)
        return True

    def fail_and_queue(self, dead: FrozenTrial) -> None:
        """Mark a trial whose process died as failed and queue it again, unless another machine has."""
        # A Trial of it would draw its point anew.
        storage, trial_id = self.study._storage, dead._trial_id  # noqa: SLF001
        with suppress(UpdateFinishedTrialError):
            # Given up, a point of a grid has no other in its place.
            if not _grid_point(dead) or dead.user_attrs.get(N_RETRIES, 0) < self.max_retries:
                storage.set_trial_user_attr(trial_id, KILLED, time.time())
            storage.set_trial_user_attr(trial_id, REASON, "its process died")
            # Of several machines that see it at once, the storage lets one pass.
            if storage.set_trial_state_values(trial_id, state=TrialState.FAIL):
                self._queue_again(dead)

    def _queue_again(self, dead: FrozenTrial) -> None:
        n_retries = dead.user_attrs.get(N_RETRIES, 0)
        # Of a known point, what was not drawn yet.
        fixed = {**dead.system_attrs.get("fixed_params", {}), **dead.params}
        point = _grid_point(dead) or (fixed and {"fixed_params": fixed})
        if point and n_retries < self.max_retries:
            self.study.add_trial(
                optuna.create_trial(
                    state=TrialState.WAITING,
                    system_attrs=point,
                    user_attrs={RETRY_OF: dead.number, N_RETRIES: n_retries + 1},
                )
            )

    def _is_alive(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER)
        if worker is None and not self.shared:
            # Its process died between two lines of `reserve`: we have the lock.
            return False
        if worker is not None and worker["host"] == this_host():
            return is_alive(worker)
        started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        return bool(time.time() - trial.user_attrs.get(HEARTBEAT, started) < HEARTBEAT_TIMEOUT_SECONDS)


def _grid_point(trial: FrozenTrial) -> dict[str, Any]:
    """Give the point of a grid: known before a trial has parameters, done for Optuna when the trial ends."""
    return {key: value for key, value in trial.system_attrs.items() if key in ("grid_id", "search_space")}


def counts(trial: FrozenTrial) -> bool:
    """Say whether a trial is one of those that a sweep is to do: done, failed, or being done."""
    if trial.state == TrialState.WAITING or FROM_STUDY in trial.user_attrs:
        return False
    # One that had an expired heartbeat and came to its end after all is done.
    done = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return done or not (KILLED in trial.user_attrs or SURPLUS in trial.user_attrs)


@contextmanager
def heartbeat(trials: Sequence[optuna.Trial]) -> Iterator[None]:
    """Write the heartbeat of trials for other machines while a block runs them."""
    done = threading.Event()

    def write() -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            for trial in trials:
                try:
                    trial.set_user_attr(HEARTBEAT, time.time())
                except (StorageInternalError, SQLAlchemyError, UpdateFinishedTrialError) as error:
                    log.warning("Trial %d cannot write its heartbeat: %s", trial.number, error)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
