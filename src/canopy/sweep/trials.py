"""Read recorded sweeps: all of a storage as a table, the trials of one, their runs and results, the best."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from canopy.files import read_json
from canopy.quoting import write_choice, write_command, write_override
from canopy.runs.find import FIRST_FOLD
from canopy.runs.keys import flatten
from canopy.runs.processes import is_alive
from canopy.runs.run import CONFIG, RECORD, Run
from canopy.sweep import (
    FROM_STUDY,
    KILLED,
    MONITOR,
    REASON,
    RETRY_OF,
    RUN,
    SCRIPT,
    SURPLUS,
    TRIAL_ATTRIBUTES,
    WORKER,
)
from canopy.sweep.storage import open_storage
from canopy.text_tables import Form, as_csv, as_json, format_value, render

# In the order of lists: Optuna's states, and that of a trial whose process died.
STATES = ("complete", "pruned", "running", "waiting", "killed", "failed")


def load_sweeps(url: str) -> dict[str, optuna.Study]:
    """Open all sweeps of a storage, by name; none is created."""
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).is_file():
        raise FileNotFoundError(
            f"A storage of sweeps must exist; got no file at {path}: name another one with --storage"
        )
    storage = open_storage(url)
    names = sorted(optuna.get_all_study_names(storage))
    return {name: optuna.load_study(study_name=name, storage=storage) for name in names}


def load_sweep(name: str, url: str) -> optuna.Study:
    """Open a sweep of a storage by its name."""
    sweeps = load_sweeps(url)
    if name not in sweeps:
        raise ValueError(
            f"A sweep must be one of its storage; got {name!r}: there is {', '.join(sweeps) or 'none yet'}"
        )
    return sweeps[name]


def run_of(trial: FrozenTrial) -> Run | None:
    """Open the folder of a trial's run, or of its first fold; None if it is not there."""
    run = Path(trial.user_attrs.get(RUN) or "none")
    return next((Run(path) for path in (run, run / FIRST_FOLD) if (path / CONFIG).is_file()), None)


def overrides_of(trial: FrozenTrial) -> list[str]:
    """Give the overrides of a trial's command: those that its run recorded, or those of the sweep."""
    run = run_of(trial)
    if commands := run and run.record.get("commands"):
        return [str(override) for override in commands[0]["overrides"]]
    fixed = {key: value for key, value in trial.user_attrs.items() if key not in TRIAL_ATTRIBUTES}
    written = [f"{key}={'null' if value is None else value}" for key, value in fixed.items()]
    return [*written, *(write_choice(key, value) for key, value in trial.params.items())]


def result_of(trial: FrozenTrial, *, study: str) -> tuple[TrialState, list[float] | None] | None:
    """Read the state and the values of a trial from its run's record; None if its run has not ended."""
    run = run_of(trial)
    if run is None or run.record.get("trial") != {"study": study, "number": trial.number}:
        return None
    if (status := run.record["status"]) != "finished":
        return (TrialState.PRUNED, None) if status == "pruned" else None
    # Here, since it imports lightning.
    from canopy.runs.record import objective_of

    values = objective_of(run.record, run.config.objective.returns)
    return TrialState.COMPLETE, [values] if isinstance(values, float) else [*values]


def violations_of(run: Path, bounds: Mapping[str, float]) -> dict[str, float]:
    """Measure by how much a run's recorded results exceed their upper bounds; nothing if it has none."""
    record = flatten(read_json(run / RECORD)) if bounds and (run / RECORD).is_file() else {}
    if "best.score" not in record:
        return {}
    for key in bounds:
        if not isinstance(record.get(key), int | float):
            raise ValueError(f"hydra.sweeper.constraints must name numbers of a run's run.json; got {key}")
    return {key: float(record[key]) - bound for key, bound in bounds.items()}


def objectives_of(sweep: optuna.Study) -> list[str]:
    """Name what is optimized: as the sweep recorded it, or `value`."""
    names, n = sweep.user_attrs.get(MONITOR) or [], len(sweep.directions)
    return [str(name) for name in names] if len(names) == n else [f"value {i}" for i in range(n)]


def best_of(sweep: optuna.Study) -> list[FrozenTrial]:
    """Give the best trial; of several objectives the Pareto front; nothing while no trial is complete."""
    # Of several trials with the same value, the first.
    best = sorted(sweep.best_trials, key=lambda trial: trial.number)
    return best if len(sweep.directions) > 1 else best[:1]


def state_of(trial: FrozenTrial) -> str:
    """Name the state of a trial; `killed` if its process is gone without having reported a result."""
    worker = trial.user_attrs.get(WORKER)
    lost = trial.state is TrialState.RUNNING and worker is not None and not is_alive(worker)
    # One whose heartbeat had expired may have come to its end after all.
    if lost or (trial.state is TrialState.FAIL and KILLED in trial.user_attrs):
        return "killed"
    return "failed" if trial.state is TrialState.FAIL else trial.state.name.lower()


def ranked(sweep: optuna.Study) -> list[FrozenTrial]:
    """Give the trials that were run or will be, by state and value, the best first."""

    def key(trial: FrozenTrial) -> tuple[object, ...]:
        values = zip(sweep.directions, _values_of(trial), strict=False)
        signed = [-value if to is StudyDirection.MAXIMIZE else value for to, value in values]
        return STATES.index(state_of(trial)), not _is_feasible(trial), signed, trial.number

    trials = sweep.get_trials(deepcopy=False)
    return sorted((trial for trial in trials if SURPLUS not in trial.user_attrs), key=key)


def _is_feasible(trial: FrozenTrial) -> bool:
    return all(violation <= 0 for violation in trial.constraints.values())


def _values_of(trial: FrozenTrial) -> list[float]:
    """Give the values of a trial's objectives; the last one seen if it did not come to its end."""
    seen = trial.intermediate_values
    return trial.values or ([seen[max(seen)]] if seen else [])


def list_trials(sweep: optuna.Study, *, form: Form = "text") -> str:
    """Write the trials of a sweep as a table, the best first; JSON and CSV have all that is known of each."""
    trials = ranked(sweep)
    params = list(dict.fromkeys(key for trial in trials for key in trial.params))
    objectives = objectives_of(sweep)
    names = ["number", "state", *objectives, "epochs", "seconds", *params, "run", "reason", "retry_of"]
    rows: list[dict[str, Any]] = [
        {
            "number": trial.number,
            "state": state_of(trial),
            **dict(itertools.zip_longest(objectives, _values_of(trial))),
            "epochs": len(trial.intermediate_values) or None,
            "seconds": trial.duration and trial.duration.total_seconds(),
            **{key: trial.params.get(key) for key in params},
            "run": trial.user_attrs.get(RUN),
            "reason": _reason(trial),
            "retry_of": trial.user_attrs.get(RETRY_OF),
        }
        for trial in trials
    ]
    if form == "text":
        ends = [key.rpartition(".")[2] for key in params]
        short = {key: end for key, end in zip(params, ends, strict=True) if ends.count(end) == 1}
        names = [name for name in names if name not in ("run", "retry_of")]
        rows = [{short.get(name, name): row[name] for name in names} for row in rows]
        names = [short.get(name, name) for name in names]
    return _write(names, rows, form)


def _reason(trial: FrozenTrial) -> str | None:
    """Give why a trial failed or does not count, or where it is from."""
    if FROM_STUDY in trial.user_attrs:
        return f"from the sweep {trial.user_attrs[FROM_STUDY]}"
    return trial.user_attrs.get(REASON) or (None if _is_feasible(trial) else "breaks a constraint")


def summarize_sweep(sweep: optuna.Study) -> str:
    """Summarize a sweep: its objectives, its trials by state, the best one and how to reproduce it."""
    row, best = _describe(sweep), best_of(sweep)
    states = "".join(f", {row[state]} {state}" for state in STATES if row[state])
    lines = [
        f"Sweep {format_value(sweep.study_name)}: {row['objective']}",
        f"Trials: {row['trials']}{states}",
    ]
    if len(sweep.directions) > 1:
        lines.append(f"Pareto front: {', '.join(f'trial {trial.number}' for trial in best) or 'empty'}")
    elif best:
        (trial,) = best
        lines.append(f"Best {objectives_of(sweep)[0]} {format_value(trial.value)}, trial {trial.number}:")
        lines += [f"  {key}={format_value(value)}" for key, value in trial.params.items()]
        script = "baselines" if sweep.user_attrs.get(SCRIPT) == "baselines" else "train"
        run = run_of(trial)
        words = [write_override("reproduce", str(run.path))] if run else overrides_of(trial)
        if sweep.user_attrs.get(SCRIPT) == "cross_validate":
            lines.append(f"Its folds: {trial.user_attrs.get(RUN)}")
        else:
            lines.append(f"Reproduce it: {write_command(script, *words)}")
    return "\n".join(lines)


def _describe(sweep: optuna.Study) -> dict[str, Any]:
    """Give what a sweep optimizes, its trials by state and the best one, unless several are."""
    counts = Counter(map(state_of, ranked(sweep)))
    pairs = zip(sweep.directions, objectives_of(sweep), strict=True)
    best = next(iter(best_of(sweep)), None) if len(sweep.directions) == 1 else None
    return {
        "sweep": sweep.study_name,
        "objective": ", ".join(f"{direction.name.lower()}s {name}" for direction, name in pairs),
        "trials": counts.total(),
        **{state: counts[state] for state in STATES},
        "best": best and best.value,
        "trial": best and best.number,
    }


def list_sweeps(sweeps: Iterable[optuna.Study], *, form: Form = "text") -> str:
    """Write a table of sweeps: what each optimizes, its trials by state, its best value."""
    names = ["sweep", "objective", "trials", *STATES, "best", "trial"]
    return _write(names, [_describe(sweep) for sweep in sweeps], form)


def _write(names: list[str], rows: list[dict[str, Any]], form: Form) -> str:
    if form == "json":
        return as_json(rows)
    if form == "text" and not rows:
        return "Nothing to list: there are none yet"
    write = as_csv if form == "csv" else render
    return write(names, [[row[name] for name in names] for row in rows])
