"""A list of runs as text, JSON or CSV: which of them, in which order, with which columns."""

import operator
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pandas as pd
import yaml

from canopy.run_name import shorten_override
from canopy.runs.keys import check_known
from canopy.runs.run import ALIASES, OWN_KEYS, Run
from canopy.text_tables import Form, as_csv, as_json, render

DEFAULT = ("name", "status", "started", "overrides", "epochs", "seconds", "best", "test.accuracy")
# Shown instead of the last one where runs have it.
OF_NUMBERS = "test.rmse"
STANDARD_KEYS = (
    *OWN_KEYS,
    *ALIASES,
    *ALIASES.values(),
    DEFAULT[-1],
    OF_NUMBERS,
)  # also when no run has them yet

_CONDITION = re.compile(r"(.+?)(>=|<=|!=|=|<|>)(.*)")
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def meets(value: Any, sign: str, text: str) -> bool:
    """Compare a run's value with a text of the command line; a run without the value only meets `!=`."""
    if sign in _ORDER:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        pair = (value, float(text)) if is_number else (str(value), text)
        return value is not None and bool(_ORDER[sign](*pair))
    # As on the command line of a run: 1e-3, true, null, [8, 8].
    meanings: list[Any] = [text]
    for read in (float, yaml.safe_load):
        with suppress(ValueError, yaml.YAMLError):
            meanings.append(read(text))
    return (value in meanings or str(value) == text) == (sign == "=")


def choose_runs(runs: Sequence[Run], where: Sequence[str], *, keys: Sequence[str]) -> list[Run]:
    """Keep the runs that meet all conditions such as `seed>=2`; `keys` is what else will be looked up."""
    conditions = []
    for text in where:
        if (match := _CONDITION.fullmatch(text)) is None:
            raise ValueError(f"A condition must be key=value, with = != < <= > or >=; got {text!r}")
        conditions.append(match.groups())
    # Only a key that is looked for costs reading all the configs.
    if runs and (asked := {*keys, *(key for key, *_ in conditions)}.difference(STANDARD_KEYS)):
        check_known(sorted(asked), {key for run in runs for key in run.known})
    return [run for run in runs if all(meets(run.value(key), *test) for key, *test in conditions)]


def tabulate(runs: Sequence[Run], keys: Sequence[str]) -> pd.DataFrame:
    """Look up keys: a row for each run, a column for each key."""
    values = {key: [run.value(key) for run in runs] for key in keys}
    return pd.DataFrame(values, index=range(len(runs)), dtype=object)


def order(value: Any) -> tuple[int, float, str]:
    """Give a sort key for values of any type: nothing, then numbers, then text."""
    if isinstance(value, int | float):
        return 1, value, ""
    return (0, 0.0, "") if value is None else (2, 0.0, str(value))


def list_runs(
    runs: Sequence[Run],
    *,
    columns: Sequence[str] = (),
    where: Sequence[str] = (),
    sort: str | None = None,
    form: Form = "text",
) -> str:
    """Write runs that meet all conditions as a table of name, status and `columns`, or the default columns.

    `sort` is a key, `-` before it for descending; runs without the value come last in both orders.
    """
    chosen = list(dict.fromkeys(["name", "status", *columns])) if columns else [*DEFAULT]
    if not columns and any(run.value(OF_NUMBERS) is not None for run in runs):
        chosen[-1] = OF_NUMBERS
    key = sort and sort.removeprefix("-")
    keys = [*chosen, key] if key else chosen
    frame = tabulate(choose_runs(runs, where, keys=keys), keys)
    if key:
        ranks = frame[key].map(order, na_action="ignore")
        frame = frame.loc[ranks.sort_values(ascending=key == sort, kind="stable").index]
    frame = frame[chosen]
    if form == "json":
        return as_json(frame.to_dict("records"))
    if form == "csv":
        return as_csv(chosen, frame.to_numpy().tolist())
    if frame.empty:
        return f"None of {len(runs)} runs meets {' and '.join(where)}" if runs else "There are no runs yet"
    if "overrides" in frame:
        frame["overrides"] = [" ".join(map(shorten_override, text.split())) for text in frame["overrides"]]
    return render(["started (UTC)" if key == "started" else key for key in chosen], frame.to_numpy().tolist())
