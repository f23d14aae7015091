"""Open recorded sweeps for reading; nothing is made or changed."""

import copy
import math
from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Literal

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from canopy.passwords import hide_passwords
from canopy.places import describe_place
from canopy.runs.keys import near_matches
from canopy.runs.process import is_alive
from canopy.sweep import attributes
from canopy.sweep.attributes import MONITOR, SCRIPT, SURPLUS, VIOLATIONS, WORKER
from canopy.sweep.overrides import run_of
from canopy.sweep.storage import open_storage

# States as they are shown, in the order of lists.
COMPLETE, PRUNED, RUNNING, WAITING, KILLED, FAILED = STATES = (
    "complete",
    "pruned",
    "running",
    "waiting",
    "killed",
    "failed",
)
WORDS = dict(zip(TrialState, (RUNNING, COMPLETE, PRUNED, FAILED, WAITING), strict=True))


class Sweep(optuna.Study):
    """A sweep as it is read: without the trials that were never run, its objectives named.

    Args:
        name: Name of the sweep.
        storage: Where it is recorded.

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
    def script(self) -> Literal["train", "baselines"]:
        """Which command of `src` runs a trial."""
        return "baselines" if self.user_attrs.get(SCRIPT) == "baselines" else "train"

    @property
    def metric_names(self) -> list[str]:
        """What is optimised: the names that the sweep recorded, or `value`."""
        names = self.user_attrs.get(MONITOR)
        n = len(self.directions)
        if isinstance(names, list) and len(names) == n:
            return [str(name) for name in names]
        return ["value"] if n == 1 else [f"value {i}" for i in range(n)]

    @property
    def goals(self) -> list[str]:
        """What is done with each objective, such as `maximizes val/accuracy`."""
        return [
            f"{'maximizes' if direction is StudyDirection.MAXIMIZE else 'minimizes'} {name}"
            for direction, name in zip(self.directions, self.metric_names, strict=True)
        ]

    @property
    def best(self) -> list[FrozenTrial]:
        """The best trial; of several objectives the Pareto front; empty while no trial is complete."""
        # Optuna knows a constraint only if the sampler did.
        if len(self.directions) > 1:
            return [trial for trial in self.best_trials if is_feasible(trial)]
        complete = self.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        sign = -1 if self.directions[0] is StudyDirection.MAXIMIZE else 1
        feasible = [trial for trial in complete if is_feasible(trial)]
        return sorted(feasible, key=lambda trial: (sign * trial.values[0], trial.number))[:1]

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials in each state that occurs."""
        counts = Counter(state(trial) for trial in self.get_trials(deepcopy=False))
        return {word: counts[word] for word in STATES if word in counts}

    def ranked(self) -> list[FrozenTrial]:
        """Give the trials, the best first: what is comparable by value, the rest by state and number."""
        signs = [-1 if direction is StudyDirection.MAXIMIZE else 1 for direction in self.directions]
        best = {trial.number for trial in self.best}

        def key(trial: FrozenTrial) -> tuple[object, ...]:
            values = zip(signs, values_of(trial), strict=False)
            return (
                trial.number not in best,
                STATES.index(state(trial)),
                not is_feasible(trial),
                [math.inf if math.isnan(value) else sign * value for sign, value in values],
                trial.number,
            )

        return sorted(self.get_trials(deepcopy=False), key=key)


def state(trial: FrozenTrial) -> str:
    """Say the state of a trial; `killed` if its process is gone without having said so."""
    if trial.user_attrs.get(attributes.KILLED):
        return KILLED
    worker = trial.user_attrs.get(WORKER)
    if trial.state is TrialState.RUNNING and isinstance(worker, dict) and {"host", "pid"} <= worker.keys():
        return RUNNING if is_alive(worker) else KILLED
    return WORDS[trial.state]


def result_of(trial: FrozenTrial, *, study: str) -> tuple[TrialState, list[float] | None] | None:
    """Read how the run of an unfinished trial ended from the run's record.

    Args:
        trial: The trial.
        study: Name of its study.

    Returns:
        The state of the trial and its values, none where it was pruned; None if its run has not ended.
    """
    if trial.state is not TrialState.RUNNING or (run := run_of(trial)) is None:
        return None
    record = run.record
    if record.get("trial") != {"study": study, "number": trial.number}:
        return None
    if record["status"] == "pruned":
        return TrialState.PRUNED, None
    if record["status"] != "finished":
        return None
    # Here, since it imports lightning.
    from canopy.runs.objective import objective_of

    found = objective_of(record, run.config.objective.returns)
    return TrialState.COMPLETE, [found] if isinstance(found, float) else [*found]


def is_feasible(trial: FrozenTrial) -> bool:
    """Say whether a trial meets all constraints."""
    return all(excess <= 0 for excess in [*trial.constraints.values(), *trial.user_attrs.get(VIOLATIONS, [])])


def values_of(trial: FrozenTrial) -> list[float]:
    """Give the values of a trial's objectives; the last one seen if it did not come to its end."""
    if trial.values is not None:
        return list(trial.values)
    seen = trial.intermediate_values
    return [seen[max(seen)]] if seen else []


def load_sweep(name: str, url: str) -> Sweep:
    """Open a sweep.

    Args:
        name: Its name.
        url: Storage, as `canopy.sweep.storage.open_storage` takes it.

    Raises:
        FileNotFoundError: If there is no such storage.
        ValueError: If it has no such sweep or cannot be read.
    """
    storage = _open(url)
    names = optuna.get_all_study_names(storage)
    if name not in names:
        near = ", ".join(near_matches(name, names)) or ", ".join(names[-3:])
        hint = f"there is {near}" if near else 'there is none yet: "python src/train.py -m" makes one'
        raise ValueError(f"A sweep must be one of its storage; found no {name!r}: {hint}")
    return Sweep(name, storage)


def load_sweeps(url: str) -> list[Sweep]:
    """Open all sweeps of a storage, in the order of their names.

    Raises:
        FileNotFoundError: If there is no such storage.
        ValueError: If it cannot be read.
    """
    storage = _open(url)
    return [Sweep(name, storage) for name in sorted(optuna.get_all_study_names(storage))]


def _open(url: str) -> optuna.storages.BaseStorage:
    """Open a storage that is there already; to read must not make one."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError(
            f"A storage must be a URL such as sqlite:///logs/sweeps.db; found {hide_passwords(url)!r}"
        ) from error
    embedded = parsed.get_backend_name() in {"sqlite", "journal"}
    if embedded and not Path(file := parsed.database or "").is_file():
        found = f"{kind} at" if (kind := describe_place(file)) else "no"
        raise FileNotFoundError(
            f"A storage of sweeps must exist; found {found} {file}: name another one with --storage, "
            'or start a sweep with "python src/train.py -m hydra/sweeper=optuna"'
        )
    try:
        return open_storage(url)
    except SQLAlchemyError as error:
        # What SQLAlchemy itself reports about a URL has its password in it.
        shown = parsed.render_as_string(hide_password=True)
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ValueError(f"{shown} must be a storage of sweeps; found {reason}") from error
