"""Choose what a list of runs shows: which runs, in which order, with which columns."""

import math
from collections.abc import Sequence
from typing import Any

from canopy.compare.conditions import Condition
from canopy.runs.keys import check_known
from canopy.runs.listed import ALIASES, OWN_KEYS, STANDARD_KEYS, ListedRun

DEFAULT = ("name", "status", "started", "overrides", "epochs", "seconds", "best", "test.accuracy")
# The columns before those that are asked for.
FIRST = ("name", "status")


def choose_columns(asked: Sequence[str]) -> tuple[str, ...]:
    """Give the columns of a list: the default ones, or name, status and those asked for."""
    return tuple(dict.fromkeys([*FIRST, *asked])) if asked else DEFAULT


def check_keys(runs: Sequence[ListedRun], asked: Sequence[str]) -> None:
    """Refuse keys that no run has.

    Raises:
        ValueError: If there is one.
    """
    asked = [key for key in asked if key not in STANDARD_KEYS]
    # Only a key that is looked for costs reading all the configs.
    if asked and runs:
        check_known(asked, {*OWN_KEYS, *ALIASES, *(key for run in runs for key in run.known)})


def choose_runs(
    runs: Sequence[ListedRun], *, conditions: Sequence[Condition], sort: str | None
) -> list[ListedRun]:
    """Keep the runs that meet all conditions, in the order asked for.

    Args:
        runs: Runs, newest first.
        conditions: What must hold.
        sort: Key to sort by, `-` before it for descending; None to leave the order. Runs without the value
            come last.
    """
    kept = [run for run in runs if all(condition.holds(run.value(condition.key)) for condition in conditions)]
    if sort is None:
        return kept
    key = sort.removeprefix("-")
    have = [run for run in kept if run.value(key) is not None]
    lack = [run for run in kept if run.value(key) is None]
    return sorted(have, key=lambda run: order(run.value(key)), reverse=sort.startswith("-")) + lack


def order(value: Any) -> tuple[int, float, str]:
    """Give a sort key for values of any type: nothing, then numbers, then text.

    Examples:
        >>> sorted(["b", 10, None, 9, "a"], key=order)
        [None, 9, 10, 'a', 'b']
    """
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, int | float):
        return (1, -math.inf if math.isnan(value) else float(value), "")
    return (2, 0.0, str(value))


def is_number(value: Any) -> bool:
    """Say whether a value can be averaged."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
