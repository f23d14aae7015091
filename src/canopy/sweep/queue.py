"""The queue of trials: exactly-once scheduling, also when a process dies.

Optuna's own heartbeat finds a dead process only after its grace period and ends with the first write that
fails; this one finds a dead process of the same machine at once and outlasts a database that is out of reach.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from canopy.runs.run import is_alive, this_host, this_process
from canopy.sweep.attributes import (
    FROM_STUDY,
    HEARTBEAT,
    KILLED,
    N_RETRIES,
    REASON,
    RETRY_OF,
    RUN,
    SURPLUS,
    WORKER,
)
from canopy.sweep.outcome import result_of, violations_of

log = logging.getLogger(__name__)

# Seconds between heartbeats of a worker; one of another machine without any for so long is dead.
HEARTBEAT_SECONDS = 30
HEARTBEAT_TIMEOUT_SECONDS = 300

# Where Optuna's grid sampler keeps which point is a trial's.
GRID_POINT = ("grid_id", "search_space")


class TrialQueue:
    """The trials of one study, handed out to any number of workers.

    Args:
        study: The study.
        n_trials: How many of its trials are to be done in all.
        max_retries: How often a trial is tried again whose process died.
        lock: File that the workers of this machine lock while they reserve a trial.
        shared: Whether other machines may have workers.
        bounds: Upper bounds of the results of a trial's run.
    """

    def __init__(
        self,
        study: optuna.Study,
        *,
        n_trials: int,
        max_retries: int,
        lock: Path,
        shared: bool,
        bounds: Mapping[str, float] | None = None,
    ) -> None:
        self.study = study
        self.n_trials = n_trials
        self.max_retries = max_retries
        self.shared = shared
        self.bounds = bounds or {}
        lock.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(lock)

    def reserve(self) -> optuna.Trial | None:
        """Take the next trial; None if there is nothing left to do."""
        with self._lock:
            self.recover()
            if self.n_left() <= 0:
                return None
            trial = self.study.ask()
            trial.set_user_attr(WORKER, this_process())
            trial.set_user_attr(HEARTBEAT, time.time())
        # Another machine, which this lock does not hold, may have taken the last one at the same time.
        earlier = sum(counts(other) and other.number < trial.number for other in self._trials())
        if earlier >= self.n_trials:
            trial.set_user_attr(SURPLUS, value=True)
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        return trial

    def n_left(self) -> int:
        """Count the trials that are neither done nor running."""
        return self.n_trials - sum(map(counts, self._trials()))

    def recover(self) -> list[int]:
        """Mark trials whose process died as failed, and queue them to be tried again.

        One whose run had ended before its process did is reported to the study with the result of that run.

        Returns:
            The numbers of those that are to be tried again.
        """
        with self._lock:
            running = [trial for trial in self._trials() if trial.state == TrialState.RUNNING]
            dead = [trial for trial in running if not self._is_alive(trial)]
            return [
                trial.number for trial in dead if not self._complete(trial) and self.fail_and_queue(trial)
            ]

    def _complete(self, dead: FrozenTrial) -> bool:
        """Report the result of a run that had ended before its process died; False if it had not."""
        result = result_of(dead, study=self.study.study_name)
        if result is None:
            return False
        state, values = result
        storage = self.study._storage  # noqa: SLF001
        violations = violations_of(Path(dead.user_attrs[RUN]), self.bounds)
        # Another machine may do the same at this moment.
        with suppress(UpdateFinishedTrialError, ValueError):
            # What Trial.set_constraint does; a Trial of it would draw its point anew.
            for key, violation in violations.items():
                storage.set_trial_system_attr(dead._trial_id, f"constraints:{key}", violation)  # noqa: SLF001
            tell_end(self.study, dead.number, state, values)
        return True

    def fail_and_queue(self, dead: FrozenTrial) -> bool:
        """Mark a trial whose process died as failed, and queue it to be tried again.

        Returns:
            Whether it was so; not if another machine has done it before, or the trial has ended.
        """
        # A Trial of it would draw its point anew.
        storage, trial_id = self.study._storage, dead._trial_id  # noqa: SLF001
        n_retries = dead.user_attrs.get(N_RETRIES, 0)
        # A grid's point is known before its parameters are; with the trial's end Optuna takes it for done.
        point = {key: dead.system_attrs[key] for key in GRID_POINT if key in dead.system_attrs}
        try:
            # Given up, a point of a grid has no other in its place.
            if not point or n_retries < self.max_retries:
                storage.set_trial_user_attr(trial_id, KILLED, value=True)
            storage.set_trial_user_attr(trial_id, REASON, "its process died")
            # Of several machines that see it at once, the storage lets one pass.
            if not storage.set_trial_state_values(trial_id, state=TrialState.FAIL):
                return False
        except UpdateFinishedTrialError:
            return False
        if (dead.params or point) and n_retries < self.max_retries:
            self.study.add_trial(
                optuna.create_trial(
                    state=TrialState.WAITING,
                    system_attrs=point or {"fixed_params": dead.params},
                    user_attrs={RETRY_OF: dead.number, N_RETRIES: n_retries + 1},
                )
            )
        return True

    def _is_alive(self, trial: FrozenTrial) -> bool:
        worker: dict[str, Any] | None = trial.user_attrs.get(WORKER)
        if worker is None and not self.shared:
            # Its process died between two lines of `reserve`: we have the lock.
            return False
        if worker is not None and worker["host"] == this_host():
            return is_alive(worker)
        started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        return bool(time.time() - trial.user_attrs.get(HEARTBEAT, started) < HEARTBEAT_TIMEOUT_SECONDS)

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)


def tell_end(
    study: optuna.Study, trial: optuna.Trial | int, state: TrialState, values: Sequence[float] | None = None
) -> None:
    """Report how a trial ended to its study."""
    try:
        study.tell(trial, values, state=state)
    except RuntimeError as error:
        # The grid sampler stops the study when it is through, which only Optuna's own loop allows.
        if "Study.stop" not in str(error):
            raise


def counts(trial: FrozenTrial) -> bool:
    """Say whether a trial is one of those that a sweep is to do: done, failed, or being done."""
    if trial.state == TrialState.WAITING or FROM_STUDY in trial.user_attrs:
        return False
    # One that had an expired heartbeat and came to its end after all is done.
    done = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return done or not (KILLED in trial.user_attrs or SURPLUS in trial.user_attrs)


@contextmanager
def heartbeat(trial: optuna.Trial) -> Iterator[None]:
    """Write a trial's heartbeat for other machines while a block runs it."""
    done = threading.Event()

    def write() -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            try:
                trial.set_user_attr(HEARTBEAT, time.time())
            except (StorageInternalError, SQLAlchemyError) as error:
                log.warning(
                    "Trial %d cannot write its heartbeat: %s", trial.number, " ".join(str(error).split())
                )
            except UpdateFinishedTrialError:
                return  # Another machine has found its heartbeat expired.

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
