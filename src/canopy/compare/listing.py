"""The list of runs and the spread over groups of them, as text, JSON or CSV."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from canopy.compare.columns import check_keys, choose_columns, choose_runs
from canopy.compare.conditions import Condition
from canopy.compare.spread import Group, Spread, group_runs, result_columns, varying_keys
from canopy.run_name import shorten_override
from canopy.runs.listed import ListedRun
from canopy.text_tables import Form, as_csv, as_json, decimals_for_error, format_value, render


def list_runs(
    runs: Sequence[ListedRun],
    *,
    columns: Sequence[str] = (),
    where: Sequence[str] = (),
    sort: str | None = None,
    form: Form = "text",
) -> str:
    """Write runs as a table.

    Args:
        runs: Runs, newest first.
        columns: Keys to show after name and status; the default columns if empty.
        where: Conditions that a shown run meets.
        sort: Key to sort by, `-` before it for descending.
        form: What to write: text for a terminal, or all values in full.

    Raises:
        ValueError: If a key is unknown or a condition cannot be understood.
    """
    kept = _choose(runs, where=where, sort=sort, keys=columns)
    chosen = choose_columns(columns)
    rows = [[run.value(key) for key in chosen] for run in kept]
    if form == "json":
        return as_json([dict(zip(chosen, row, strict=True)) for row in rows])
    if form == "csv":
        return as_csv(chosen, rows)
    if not kept:
        found = f"none of {len(runs)} runs meets {' and '.join(where)}" if runs else "there are no runs yet"
        return f"Nothing to list: {found}"
    if "overrides" in chosen:
        at = chosen.index("overrides")
        rows = [[*row[:at], " ".join(map(shorten_override, row[at].split())), *row[at + 1 :]] for row in rows]
    return render(["started (UTC)" if key == "started" else key for key in chosen], rows)


def summarize_runs(
    runs: Sequence[ListedRun],
    *,
    keys: Sequence[str] = (),
    columns: Sequence[str] = (),
    where: Sequence[str] = (),
    form: Form = "text",
) -> str:
    """Write the mean, standard deviation and 95 % interval of numbers over runs.

    Args:
        runs: The runs.
        keys: Keys in which the runs of a group agree; all runs are one group if empty.
        columns: What is averaged; if empty, the numbers among the default columns, or every result where
            there is one group.
        where: Conditions that a run meets.
        form: What to write.

    Raises:
        ValueError: If a key is unknown, a condition cannot be understood or nothing can be averaged.
    """
    kept = _choose(runs, where=where, sort=None, keys=[*columns, *keys])
    chosen = columns or (choose_columns(()) if keys else result_columns(kept))
    groups = group_runs(kept, keys=keys, columns=chosen)
    if form == "json":
        return as_json([asdict(group) for group in groups])
    headers = [*keys, "n", "column"]
    lines = [(group, column, spread) for group in groups for column, spread in group.spreads.items()]
    if form == "csv":
        rows = [
            [*group.values.values(), spread.n, column, spread.mean, spread.sd, spread.low, spread.high]
            for group, column, spread in lines
        ]
        return as_csv([*headers, "mean", "sd", "low", "high"], rows)
    table = render(
        [*headers, "mean ± sd", "95 % interval"],
        [
            [*_group_cells(group, column), str(spread.n), column, *_spread_cells(spread)]
            for group, column, spread in lines
        ],
    )
    return f"{_describe(kept)}\n\n{table}"


def _choose(
    runs: Sequence[ListedRun], *, where: Sequence[str], sort: str | None, keys: Sequence[str]
) -> list[ListedRun]:
    conditions = [Condition.parse(text) for text in where]
    sorted_by = [] if sort is None else [sort.removeprefix("-")]
    check_keys(runs, [*keys, *sorted_by, *(condition.key for condition in conditions)])
    return choose_runs(runs, conditions=conditions, sort=sort)


def _describe(runs: Sequence[ListedRun]) -> str:
    """Say what is summarized: how many runs, how they ended, in which config keys they differ."""
    counts = Counter(run.status for run in runs)
    ended = ", ".join(f"{n} {status}" for status, n in counts.items())
    lines = [f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}: {ended}"]
    varying = varying_keys(runs)
    if varying:
        differences = [
            f"{key} ({', '.join(format_value(value) for value in values)})" for key, values in varying.items()
        ]
        lines.append(f"They differ in {'; '.join(differences)}")
    else:
        lines.append("Their configs are the same")
    return "\n".join(lines)


def _group_cells(group: Group, column: str) -> list[str]:
    """Write a group's values once, in its first line."""
    first = column == next(iter(group.spreads))
    return [format_value(value) if first else "" for value in group.values.values()]


def _spread_cells(spread: Spread) -> tuple[str, str]:
    n = decimals_for_error(abs(spread.mean), spread.sd or 0.0)
    if spread.sd is None or spread.low is None or spread.high is None:
        return f"{spread.mean:.{n}f}", "needs two runs"
    return f"{spread.mean:.{n}f} ± {spread.sd:.{n}f}", f"{spread.low:.{n}f} to {spread.high:.{n}f}"
