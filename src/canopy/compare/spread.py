"""The spread of numbers over runs that differ in their seed: mean, standard deviation, interval."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import stdtrit

from canopy.compare.columns import is_number, order
from canopy.runs.listed import ListedRun

CONFIDENCE = 0.95
# What the evaluation counts is the same for all runs on the same data.
_NO_RESULT = ("n_rows", "support")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean of some runs' numbers and how far it can be trusted.

    Attributes:
        n: Number of runs that have the number.
        mean: Their mean.
        sd: Sample standard deviation (divisor n - 1); None below two runs.
        low: Lower end of the 95 % interval of the mean, by Student's t; None below two runs.
        high: Upper end.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Measure it, of at least one number.

        Examples:
            >>> spread = Spread.of([1.0, 2.0, 3.0])
            >>> spread.mean, spread.sd, round(spread.high, 3)
            (2.0, 1.0, 4.484)
        """
        n, mean = len(values), statistics.fmean(values)
        if n < 2:
            return cls(n=n, mean=mean, sd=None, low=None, high=None)
        sd = statistics.stdev(values)
        half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * sd / math.sqrt(n)
        return cls(n=n, mean=mean, sd=sd, low=mean - half, high=mean + half)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that agree in some keys.

    Attributes:
        values: What they agree in, by key.
        n: Number of runs.
        spreads: Spread of each numeric column.
    """

    values: dict[str, Any]
    n: int
    spreads: dict[str, Spread]


def group_runs(runs: Sequence[ListedRun], *, keys: Sequence[str], columns: Sequence[str]) -> list[Group]:
    """Measure the spread of each numeric column in each group of runs.

    Args:
        runs: The runs.
        keys: Keys in which the runs of a group agree; all runs are one group if empty.
        columns: Keys of what is averaged; those without a number are left out.

    Returns:
        The groups, ordered by their values.

    Raises:
        ValueError: If no column has a number.
    """
    groups: dict[str, list[ListedRun]] = {}
    for run in sorted(runs, key=lambda run: [order(run.value(key)) for key in keys]):
        groups.setdefault(json.dumps([run.value(key) for key in keys], default=str), []).append(run)
    columns = [column for column in columns if column not in keys]
    measured = [
        Group(
            values={key: members[0].value(key) for key in keys},
            n=len(members),
            spreads=_measure(members, columns),
        )
        for members in groups.values()
    ]
    if not any(group.spreads for group in measured):
        raise ValueError(
            f"A summary needs numbers; found none in {', '.join(columns) or 'the runs'} of {len(runs)} runs: "
            "choose finished runs and numeric --columns"
        )
    return measured


def result_columns(runs: Sequence[ListedRun]) -> list[str]:
    """Name all that measures how good runs are: best score, training, scores of the evaluation.

    As long as no run has been evaluated, the best epoch's validation takes the place of the scores.
    """
    names: dict[str, None] = dict.fromkeys(["best", "epochs", "seconds"])
    evaluated = any(run.metrics for run in runs)
    for run in runs:
        for key in run.known:
            wanted = key.startswith(("test.", "val.")) if evaluated else key.startswith("best.metrics.")
            if wanted and key.rpartition(".")[2] not in _NO_RESULT:
                names[key] = None
    return list(names)


def varying_keys(runs: Sequence[ListedRun]) -> dict[str, list[Any]]:
    """Give the config keys in which runs differ, and the values that each takes."""
    varying = {}
    for key in dict.fromkeys(key for run in runs for key in run.config):
        values = sorted((run.config.get(key) for run in runs), key=order)
        distinct = [value for i, value in enumerate(values) if value not in values[:i]]
        if len(distinct) > 1:
            varying[key] = distinct
    return varying


def _measure(runs: Sequence[ListedRun], columns: Sequence[str]) -> dict[str, Spread]:
    numbers = {column: [run.value(column) for run in runs] for column in columns}
    kept = {column: [float(v) for v in values if is_number(v)] for column, values in numbers.items()}
    return {column: Spread.of(values) for column, values in kept.items() if values}
