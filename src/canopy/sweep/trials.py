"""The trials of a sweep as a table, the sweep in a few lines, and the list of all sweeps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from optuna.trial import FrozenTrial

from canopy.sweep.attributes import FROM_STUDY, REASON, RETRY_OF, RUN
from canopy.sweep.loading import STATES, Sweep, is_feasible, state, values_of
from canopy.sweep.overrides import reproducing_command
from canopy.text_tables import Form, as_csv, as_json, format_value, render

Order = Literal["best", "number"]

# Of a reason the terminal shows as much, the other forms all of it.
_REASON_LENGTH = 40


def list_trials(sweep: Sweep, *, order: Order = "best", form: Form = "text") -> str:
    """Write the trials of a sweep as a table.

    Args:
        sweep: The sweep.
        order: Which trials come first.
        form: What to write: text for a terminal, with short names and without the runs' folders, or all in
            full.

    Returns:
        The table. The value of a trial that did not come to its end is the last one that it saw.
    """
    trials = sweep.ranked() if order == "best" else sweep.get_trials(deepcopy=False)
    keys = param_keys(trials)
    rows = [describe_trial(sweep, trial, keys=keys) for trial in trials]
    columns = list(rows[0]) if rows else ["number", "state", *sweep.metric_names]
    if form != "text":
        return _write(columns, [list(row.values()) for row in rows], form=form)
    if not rows:
        return "Nothing to list: there are no trials yet"
    has_notes = any(row["reason"] for row in rows)
    return render(
        ["trial", *columns[1 : len(columns) - len(keys) - 3], *short_names(keys), *["reason"] * has_notes],
        [
            [
                # Written, not counted: a number is right-aligned, and none is rounded.
                str(row["number"]),
                *[row[key] for key in columns[1 : len(columns) - 3]],
                *[(row["reason"] or "")[:_REASON_LENGTH]] * has_notes,
            ]
            for row in rows
        ],
    )


def describe_trial(sweep: Sweep, trial: FrozenTrial, *, keys: Sequence[str]) -> dict[str, Any]:
    """Give what is shown of a trial.

    Args:
        sweep: Its sweep.
        trial: The trial.
        keys: Keys that the trials of the sweep vary.

    Returns:
        Number, state, a value for each objective, validations seen, seconds, each parameter of the sweep
        by its key (None where the trial has none), folder of the run, reason why it failed or does not
        count, number of the trial that it repeats.
    """
    names, found = sweep.metric_names, values_of(trial)
    values: list[float | None] = [*found] if len(found) == len(names) else [None] * len(names)
    return {
        "number": trial.number,
        "state": state(trial),
        **dict(zip(names, values, strict=True)),
        "epochs": len(trial.intermediate_values) or None,
        "seconds": None if trial.duration is None else trial.duration.total_seconds(),
        **{key: trial.params.get(key) for key in keys},
        "run": trial.user_attrs.get(RUN),
        "reason": _reason(trial),
        "retry_of": trial.user_attrs.get(RETRY_OF),
    }


def summarize_sweep(sweep: Sweep, *, project: Path = Path()) -> str:
    """Say what a sweep searches, how far it has come and what is best, with the command that reproduces it.

    Args:
        sweep: The sweep.
        project: The folder that the runs' folders are relative to.
    """
    lines = [f"Sweep {format_value(sweep.study_name)}: {', '.join(sweep.goals)}", count_trials(sweep)]
    best = sweep.best
    if len(sweep.directions) > 1:
        lines.append(f"Pareto front: {', '.join(f'trial {trial.number}' for trial in best) or 'empty'}")
    elif best:
        lines.append(f"Best {sweep.metric_names[0]} {format_value(best[0].value)}, trial {best[0].number}:")
        lines += [f"  {key}={format_value(value)}" for key, value in best[0].params.items()]
        command = reproducing_command(best[0], project=project, script=sweep.script)
        lines.append(f"Reproduce it: {command}")
    return "\n".join(lines)


def count_trials(sweep: Sweep) -> str:
    """Count the trials by state.

    Returns:
        Such as `5 trials: 3 complete, 2 failed`.
    """
    counts = sweep.counts
    n = sum(counts.values())
    reported = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{n} {'trial' if n == 1 else 'trials'}{': ' if reported else ''}{reported}"


def list_sweeps(sweeps: Sequence[Sweep], *, form: Form = "text") -> str:
    """Write a table of sweeps: what each optimises, its trials by state, its best value."""
    if not sweeps and form == "text":
        return "Nothing to list: there are no sweeps yet"
    occurring = [word for word in STATES if form != "text" or any(word in sweep.counts for sweep in sweeps)]
    columns = ["sweep", "objective", "trials", *occurring, "best", "trial"]
    rows = []
    for sweep in sweeps:
        counts, best = sweep.counts, sweep.best
        one = best[0] if len(best) == 1 and len(sweep.directions) == 1 else None
        counted = [sum(counts.values()), *(counts.get(word, 0) for word in occurring)]
        rows.append(
            [
                sweep.study_name,
                ", ".join(sweep.goals),
                *counted,
                one and one.value,
                one and one.number,
            ]
        )
    return render(columns, rows) if form == "text" else _write(columns, rows, form=form)


def param_keys(trials: Sequence[FrozenTrial]) -> list[str]:
    """Give the keys that the trials vary, in the order in which they first occur."""
    numbered = sorted(trials, key=lambda trial: trial.number)
    return list(dict.fromkeys(key for trial in numbered for key in trial.params))


def short_names(keys: Sequence[str]) -> list[str]:
    """Leave of each key as many last parts as distinguish it from the others.

    Examples:
        >>> short_names(["model.optimizer.lr", "model.net.dropout", "data.batch_size"])
        ['lr', 'dropout', 'batch_size']
        >>> short_names(["a.lr", "b.lr", "+c"])
        ['a.lr', 'b.lr', 'c']
    """
    parts = [key.lstrip("+").split(".") for key in keys]
    names = []
    for own in parts:
        n = 1
        while n < len(own) and sum(other[-n:] == own[-n:] for other in parts) > 1:
            n += 1
        names.append(".".join(own[-n:]))
    return names


def _reason(trial: FrozenTrial) -> str | None:
    """Say why a trial failed or does not count, or where it is from."""
    attributes = trial.user_attrs
    if REASON in attributes:
        return format_value(attributes[REASON])
    if FROM_STUDY in attributes:
        return f"from the sweep {format_value(attributes['from_study'])}"
    return None if is_feasible(trial) else "breaks a constraint"


def _write(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, form: Form) -> str:
    """Write rows in full, as JSON or CSV."""
    if form == "json":
        return as_json([dict(zip(columns, row, strict=True)) for row in rows])
    return as_csv(columns, rows)
