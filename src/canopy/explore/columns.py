"""Describe each column by itself: kind, gaps, values, constancy and spread."""

from typing import Any

import numpy as np
import pandas as pd

from canopy.explore.rounding import significant
from canopy.table.spec import TableSpec

QUANTILES = {"min": 0.0, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75, "max": 1.0}


def describe_columns(frame: pd.DataFrame, spec: TableSpec) -> dict[str, dict[str, Any]]:
    """Say of each column what it is and which values it holds.

    Args:
        frame: The columns of `spec`, shape (n_rows, n_columns); a missing value is NaN.
        spec: Their kinds, units and meanings.

    Returns:
        Column to kind, meaning, unit or group, number of missing and of distinct values, the most
        frequent value (the smallest one of several) and the share of the present values that it has.
    """
    descriptions: dict[str, dict[str, Any]] = {
        column.name: {"kind": "numeric", "meaning": column.meaning, "unit": column.unit}
        for column in spec.numeric
    }
    for group in spec.groups:
        for name, category in group.columns.items():
            descriptions[name] = {"kind": "one-hot", "meaning": category, "group": group.name}
    descriptions[spec.target] = {"kind": "target"}
    for name, description in descriptions.items():
        counts = frame[name].value_counts()
        most = int(counts.iloc[0]) if len(counts) else 0
        n_present = int(counts.sum())
        description["n_missing"] = len(frame) - n_present
        description["n_distinct"] = len(counts)
        description["most_frequent"] = counts.index[counts == most].min() if most else None
        description["most_frequent_share"] = most / n_present if most else 0.0
        if isinstance(description["most_frequent"], int | float | np.number):
            description["most_frequent"] = significant(description["most_frequent"])
    return descriptions


def find_constant(
    columns: dict[str, dict[str, Any]], *, nearly_constant_share: float
) -> dict[str, list[str]]:
    """Find the features that have one value in all rows, or in nearly all of them.

    Args:
        columns: What `describe_columns` gives.
        nearly_constant_share: Share of the rows from which on a column is nearly constant.

    Returns:
        Names under `constant` and `nearly_constant`; a column is in one of the two at most.

    Raises:
        ValueError: If the share is not above 0 and at most 1.
    """
    if not 0 < nearly_constant_share <= 1:
        raise ValueError(
            f"explore.nearly_constant_share must be above 0 and at most 1; found {nearly_constant_share}"
        )
    features = {name: column for name, column in columns.items() if column["kind"] != "target"}
    constant = [name for name, column in features.items() if column["n_distinct"] <= 1]
    nearly = [
        name
        for name, column in features.items()
        if column["most_frequent_share"] >= nearly_constant_share and name not in constant
    ]
    return {"constant": constant, "nearly_constant": nearly}


def summarize_numeric(frame: pd.DataFrame, names: list[str]) -> dict[str, dict[str, float]]:
    """Give range, quartiles, mean and standard deviation of numeric columns.

    Args:
        frame: The rows, shape (n_rows, n_columns); missing values (NaN) do not count.
        names: The numeric columns.

    Returns:
        Column to its figures, in the column's unit; the standard deviation is that of the rows
        themselves (divided by n_rows).

    Examples:
        >>> summarize_numeric(pd.DataFrame({"size": [1, 2, 6]}), ["size"])["size"]["median"]
        2
    """
    summaries = {}
    for name in names:
        values = frame[name].dropna().to_numpy()
        figures = dict(zip(QUANTILES, pd.Series(values).quantile([*QUANTILES.values()]), strict=True))
        figures |= {"mean": values.mean(), "standard_deviation": values.std()}
        summaries[name] = {key: significant(value) for key, value in figures.items()}
    return summaries
