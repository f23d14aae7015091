"""Open recorded sweeps for reading; nothing is made or changed."""

import copy
import math
from collections import Counter
from collections.abc import Container
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from canopy.passwords import hide_passwords
from canopy.places import describe_place
from canopy.runs.keys import near_matches
from canopy.runs.run import is_alive
from canopy.sweep.attributes import KILLED, MONITOR, SCRIPT, SURPLUS, WORKER
from canopy.sweep.outcome import result_of
from canopy.sweep.storage import open_storage

# States as they are shown, in the order of lists: Optuna's, and that of a trial whose process died.
STATES = ("complete", "pruned", "running", "waiting", "killed", "failed")


class Sweep(optuna.Study):
    """A study as it is read: without the trials that were never run, its objectives named.

    Attributes:
        recorded: The same study with all its trials; some of Optuna's plots need them without a gap.
    """

    def __init__(self, name: str, storage: optuna.storages.BaseStorage) -> None:
        super().__init__(study_name=name, storage=storage)
        self.recorded = optuna.load_study(study_name=name, storage=storage)

    def get_trials(
        self,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 - the signature of optuna's
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Give the trials that were run or will be, in the order of their numbers.

        A trial whose process was stopped after its run had ended, before it could report to the study, has
        the result of that run.
        """
        trials = [self._with_result(trial) for trial in super().get_trials(deepcopy=deepcopy)]
        return [
            trial
            for trial in trials
            if not trial.user_attrs.get(SURPLUS) and (states is None or trial.state in states)
        ]

    def _with_result(self, trial: FrozenTrial) -> FrozenTrial:
        if (result := result_of(trial, study=self.study_name)) is None:
            return trial
        ended = copy.copy(trial)
        ended.state, ended.values = result
        return ended

    @property
    def script(self) -> str:
        """Which command of `src` runs a trial."""
        return "baselines" if self.user_attrs.get(SCRIPT) == "baselines" else "train"

    @property
    def objectives(self) -> list[str]:
        """What is optimized: the names that the sweep recorded, or `value`."""
        names = self.user_attrs.get(MONITOR)
        n = len(self.directions)
        if isinstance(names, list) and len(names) == n:
            return [str(name) for name in names]
        return ["value"] if n == 1 else [f"value {i}" for i in range(n)]

    @property
    def signs(self) -> list[int]:
        """What makes of each objective's values such that the lowest is the best."""
        return [-1 if direction is StudyDirection.MAXIMIZE else 1 for direction in self.directions]

    @property
    def goals(self) -> str:
        """What is done with each objective, such as `maximizes val/accuracy`."""
        verbs = ["minimizes" if sign > 0 else "maximizes" for sign in self.signs]
        return ", ".join(f"{verb} {name}" for verb, name in zip(verbs, self.objectives, strict=True))

    @property
    def best(self) -> list[FrozenTrial]:
        """The best trial; of several objectives the Pareto front; empty while no trial is complete."""
        best = sorted(self.best_trials, key=lambda trial: trial.number)
        # Of several trials with the same value, the first.
        return best if len(self.directions) > 1 else best[:1]

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials in each state that occurs."""
        counts = Counter(state_of(trial) for trial in self.get_trials(deepcopy=False))
        return {state: counts[state] for state in STATES if state in counts}

    def ranked(self) -> list[FrozenTrial]:
        """Give the trials, the best first: what is comparable by value, the rest by state and number."""
        best = {trial.number for trial in self.best}

        def key(trial: FrozenTrial) -> tuple[object, ...]:
            values = zip(self.signs, values_of(trial), strict=False)
            return (
                trial.number not in best,
                STATES.index(state_of(trial)),
                not is_feasible(trial),
                [math.inf if math.isnan(value) else sign * value for sign, value in values],
                trial.number,
            )

        return sorted(self.get_trials(deepcopy=False), key=key)


def state_of(trial: FrozenTrial) -> str:
    """Name the state of a trial; `killed` if its process is gone without having reported a result."""
    worker = trial.user_attrs.get(WORKER)
    if trial.user_attrs.get(KILLED):
        return "killed"
    if trial.state is TrialState.RUNNING and isinstance(worker, dict) and {"host", "pid"} <= worker.keys():
        return "running" if is_alive(worker) else "killed"
    return "failed" if trial.state is TrialState.FAIL else trial.state.name.lower()


def is_feasible(trial: FrozenTrial) -> bool:
    """Say whether a trial meets all constraints."""
    return all(violation <= 0 for violation in trial.constraints.values())


def values_of(trial: FrozenTrial) -> list[float]:
    """Give the values of a trial's objectives; the last one seen if it did not come to its end."""
    if trial.values is not None:
        return list(trial.values)
    seen = trial.intermediate_values
    return [seen[max(seen)]] if seen else []


def load_sweep(name: str, url: str) -> Sweep:
    """Open a sweep of a storage, by its name and the URL that `open_storage` takes.

    Raises:
        FileNotFoundError: If there is no such storage.
        ValueError: If it has no such sweep or cannot be read.
    """
    storage = _open(url)
    names = optuna.get_all_study_names(storage)
    if name not in names:
        near = ", ".join(near_matches(name, names)) or ", ".join(names[-3:])
        hint = f"there is {near}" if near else 'there is none yet: "python src/train.py -m" makes one'
        raise ValueError(f"A sweep must be one of its storage; got {name!r}: {hint}")
    return Sweep(name, storage)


def load_sweeps(url: str) -> list[Sweep]:
    """Open all sweeps of a storage, in the order of their names; raises as `load_sweep` does."""
    storage = _open(url)
    return [Sweep(name, storage) for name in sorted(optuna.get_all_study_names(storage))]


def _open(url: str) -> optuna.storages.BaseStorage:
    """Open a storage that is there already; to read must not make one."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError(
            f"A storage must be a URL such as sqlite:///logs/sweeps.db; got {hide_passwords(url)!r}"
        ) from error
    file = parsed.database or ""
    if parsed.get_backend_name() == "sqlite" and not Path(file).is_file():
        raise FileNotFoundError(
            f"A storage of sweeps must exist; got {describe_place(file) or 'no file'} at {file}: name "
            'another one with --storage, or start a sweep with "python src/train.py -m hydra/sweeper=optuna"'
        )
    try:
        return open_storage(url)
    except SQLAlchemyError as error:
        # What SQLAlchemy itself reports about a URL has its password in it.
        shown = parsed.render_as_string(hide_password=True)
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ValueError(f"{shown} must be a storage of sweeps; got {reason}") from error
