"""The spread of numbers over runs that differ in their seed: mean, standard deviation, interval."""

import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from scipy.special import stdtrit

from canopy.compare.listing import DEFAULT, choose_runs, order, tabulate
from canopy.files import write_text
from canopy.places import display_path
from canopy.quoting import write_command
from canopy.runs.find import find_runs, run_folders
from canopy.runs.run import Run
from canopy.text_tables import Form, as_csv, as_json, decimals, decimals_for_error, format_value, render

CONFIDENCE = 0.95


class MultirunSummary(Callback):
    """Print and save the spread of every result over the seeds of a multirun, when its last run has ended.

    Where more than the seed varies, runs that agree in all of it form a group.
    """

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        if next(run_folders(folder), None) is None:
            return
        runs = [run for run in find_runs([folder], logs=Path("logs")) if run.status == "finished"]
        varying = varying_keys(runs)
        keys = [key for key in varying if key != "seed"]
        if "seed" not in varying or len(group_runs(runs, keys)) == len(runs):
            return  # no seed is repeated
        columns, summary = result_columns(runs), folder / "summary.csv"
        write_text(summary, summarize_runs(runs, keys=keys, columns=columns, form="csv") + "\n")
        text = summarize_runs(runs, keys=keys, columns=() if keys else columns)
        sys.stdout.write(
            f"\n{text}\n\nAll digits: {display_path(summary)}\nWith test scores:\n"
            f"  {write_command('evaluate', run=display_path(folder))}\n"
            f"  {write_command('runs', display_path(folder), '--summary')}\n"
        )


def summarize_runs(
    runs: Sequence[Run],
    *,
    keys: Sequence[str] = (),
    columns: Sequence[str] = (),
    where: Sequence[str] = (),
    form: Form = "text",
) -> str:
    """Write the mean, standard deviation and 95 % interval of numbers over runs that meet all conditions.

    The runs of a group agree in `keys`. `columns` is by default every result, or those of the list by group.
    """
    runs = choose_runs(runs, where, keys=[*columns, *keys])
    columns = columns or (DEFAULT if keys else result_columns(runs))
    columns = [column for column in columns if column not in keys]
    groups = [
        ({key: group[0].value(key) for key in keys}, len(group), measure_spread(tabulate(group, columns)))
        for group in group_runs(runs, keys)
    ]
    if all(spreads.empty for *_, spreads in groups):
        raise ValueError(
            f"A summary needs numbers; found none in {', '.join(columns) or 'the runs'} of {len(runs)} runs: "
            "choose finished runs and numeric --columns"
        )
    if form == "json":
        return as_json([{"values": v, "n": n, "spreads": table.to_dict("index")} for v, n, table in groups])
    headers = [*keys, "n", "column"]
    lines = [(values, row) for values, _, spreads in groups for row in spreads.itertuples()]
    if form == "csv":
        rows = [[*values.values(), row.n, row.Index, *row[2:]] for values, row in lines]
        return as_csv([*headers, "mean", "sd", "low", "high"], rows)
    rows = [[*values.values(), str(row.n), row.Index, *spread_cells(row)] for values, row in lines]
    ended = ", ".join(f"{n} {status}" for status, n in Counter(run.status for run in runs).items())
    varying = [f"{key} ({', '.join(map(format_value, v))})" for key, v in varying_keys(runs).items()]
    differences = f"They differ in {'; '.join(varying)}" if varying else "Their configs are the same"
    table = render([*headers, "mean ± sd", "95 % interval"], rows)
    return f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}: {ended}\n{differences}\n\n{table}"


def group_runs(runs: Sequence[Run], keys: Sequence[str]) -> list[list[Run]]:
    """Gather the runs that agree in some keys, ordered by their values; all runs if there is no key."""
    groups: dict[str, list[Run]] = {}
    # Lists among the values cannot be hashed.
    for run in sorted(runs, key=lambda run: [order(run.value(key)) for key in keys]):
        groups.setdefault(repr([run.value(key) for key in keys]), []).append(run)
    return [*groups.values()]


def measure_spread(values: pd.DataFrame) -> pd.DataFrame:
    """Give, for each column with numbers, their count n, mean, sd, and interval low to high of the mean.

    The standard deviation has the divisor n - 1, the interval is Student's; None below two values.
    """
    numbers = values.map(lambda value: float(value) if is_number(value) else np.nan)
    spreads = numbers.agg(["count", "mean", "std"]).T.set_axis(["n", "mean", "sd"], axis=1)
    spreads = spreads[spreads["n"] > 0].astype({"n": int})
    half = stdtrit(spreads["n"] - 1, (1 + CONFIDENCE) / 2) * spreads["sd"] / np.sqrt(spreads["n"])
    spreads = spreads.assign(low=spreads["mean"] - half, high=spreads["mean"] + half).astype(object)
    return spreads.where(spreads.notna(), None)


def is_number(value: Any) -> bool:
    """Check for a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def result_columns(runs: Sequence[Run]) -> list[str]:
    """Name the scores of runs: those of the evaluation or, before there is one, of the best epoch."""
    scores = ("test.", "val.") if any(run.metrics for run in runs) else ("best.metrics.",)
    known = dict.fromkeys(key for run in runs for key in run.known if key.startswith(scores))
    # What the evaluation counts is the same for all runs on the same data.
    results = (key for key in known if not key.endswith(("n_rows", "support")))
    return list(dict.fromkeys(["best", "epochs", "seconds", *results]))


def varying_keys(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Give the config keys in which runs differ, and the values that each takes."""
    varying = {}
    for key in dict.fromkeys(key for run in runs for key in run.config_values):
        values = [run.config_values.get(key) for run in runs]
        distinct = [value for i, value in enumerate(values) if value not in values[:i]]
        if len(distinct) > 1:
            varying[key] = sorted(distinct, key=order)
    return varying


def spread_cells(row: Any) -> tuple[str, str]:
    """Write mean and deviation, and the interval, of a row of `measure_spread`."""
    if row.sd is None:
        return f"{row.mean:.{decimals(abs(row.mean))}f}", "needs two runs"
    n = decimals_for_error(abs(row.mean), row.sd)
    return f"{row.mean:.{n}f} ± {row.sd:.{n}f}", f"{row.low:.{n}f} to {row.high:.{n}f}"
