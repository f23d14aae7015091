"""The trials of a sweep as a table, the sweep in a few lines, and the list of all sweeps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from optuna.trial import FrozenTrial

from canopy.sweep.attributes import FROM_STUDY, REASON, RETRY_OF, RUN
from canopy.sweep.loading import STATES, Sweep, is_feasible, state_of, values_of
from canopy.sweep.overrides import reproducing_command
from canopy.text_tables import Form, as_csv, as_json, format_value, render

# Of a reason the terminal shows as much, the other forms all of it.
_REASON_LENGTH = 40


def list_trials(sweep: Sweep, *, order: Literal["best", "number"] = "best", form: Form = "text") -> str:
    """Write the trials of a sweep as a table.

    Args:
        sweep: The sweep.
        order: Which trials come first.
        form: What to write: text for a terminal, with short names and without the runs' folders, or all in
            full.

    Returns:
        The table. The value of a trial that did not come to its end is the last one that it saw.
    """
    numbered = sweep.get_trials(deepcopy=False)
    keys = list(dict.fromkeys(key for trial in numbered for key in trial.params))
    trials = sweep.ranked() if order == "best" else numbered
    shown = ["number", "state", *sweep.objectives, *(["epochs", "seconds", *keys] if trials else [])]
    rows = [_describe(sweep, trial, keys) for trial in trials]
    if form != "text":
        return _write([*shown, *(["run", "reason", "retry_of"] if rows else [])], rows, form)
    if not rows:
        return "Nothing to list: there are no trials yet"
    has_reasons = any(row["reason"] for row in rows)
    return render(
        ["trial", *shown[1 : len(shown) - len(keys)], *short_names(keys), *["reason"] * has_reasons],
        [
            [
                # As text: a number is right-aligned, and none is rounded.
                str(row["number"]),
                *[row[key] for key in shown[1:]],
                *[(row["reason"] or "")[:_REASON_LENGTH]] * has_reasons,
            ]
            for row in rows
        ],
    )


def _describe(sweep: Sweep, trial: FrozenTrial, keys: Sequence[str]) -> dict[str, Any]:
    """Give what is shown of a trial, with None for what it does not have."""
    values: list[float | None] = [*values_of(trial)]
    if len(values) != len(sweep.objectives):
        values = [None] * len(sweep.objectives)
    return {
        "number": trial.number,
        "state": state_of(trial),
        **dict(zip(sweep.objectives, values, strict=True)),
        "epochs": len(trial.intermediate_values) or None,
        "seconds": None if trial.duration is None else trial.duration.total_seconds(),
        **{key: trial.params.get(key) for key in keys},
        "run": trial.user_attrs.get(RUN),
        "reason": _reason(trial),
        "retry_of": trial.user_attrs.get(RETRY_OF),
    }


def _reason(trial: FrozenTrial) -> str | None:
    """Give why a trial failed or does not count, or where it is from."""
    if REASON in trial.user_attrs:
        return format_value(trial.user_attrs[REASON])
    if FROM_STUDY in trial.user_attrs:
        return f"from the sweep {format_value(trial.user_attrs[FROM_STUDY])}"
    return None if is_feasible(trial) else "breaks a constraint"


def summarize_sweep(sweep: Sweep, *, project: Path = Path()) -> str:
    """Summarize a sweep: its objectives, its trials by state, the best one and how to reproduce it.

    Args:
        sweep: The sweep.
        project: The folder that the runs' folders are relative to.
    """
    n = sum(sweep.counts.values())
    counts = ", ".join(f"{count} {state}" for state, count in sweep.counts.items())
    lines = [
        f"Sweep {format_value(sweep.study_name)}: {sweep.goals}",
        f"{n} {'trial' if n == 1 else 'trials'}{': ' if counts else ''}{counts}",
    ]
    best = sweep.best
    if len(sweep.directions) > 1:
        lines.append(f"Pareto front: {', '.join(f'trial {trial.number}' for trial in best) or 'empty'}")
    elif best:
        lines.append(f"Best {sweep.objectives[0]} {format_value(best[0].value)}, trial {best[0].number}:")
        lines += [f"  {key}={format_value(value)}" for key, value in best[0].params.items()]
        command = reproducing_command(best[0], project=project, script=sweep.script)
        lines.append(f"Reproduce it: {command}")
    return "\n".join(lines)


def list_sweeps(sweeps: Sequence[Sweep], *, form: Form = "text") -> str:
    """Write a table of sweeps: what each optimizes, its trials by state, its best value."""
    if not sweeps and form == "text":
        return "Nothing to list: there are no sweeps yet"
    states = [state for state in STATES if form != "text" or any(state in sweep.counts for sweep in sweeps)]
    rows = []
    for sweep in sweeps:
        best = sweep.best if len(sweep.directions) == 1 else []
        rows.append(
            {
                "sweep": sweep.study_name,
                "objective": sweep.goals,
                "trials": sum(sweep.counts.values()),
                **{state: sweep.counts.get(state, 0) for state in states},
                "best": best[0].value if best else None,
                "trial": best[0].number if best else None,
            }
        )
    return _write(["sweep", "objective", "trials", *states, "best", "trial"], rows, form)


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


def _write(columns: Sequence[str], rows: Sequence[dict[str, Any]], form: Form) -> str:
    if form == "json":
        return as_json(list(rows))
    write = as_csv if form == "csv" else render
    return write(columns, [list(row.values()) for row in rows])
