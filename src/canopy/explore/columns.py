"""Describe each column by itself: kind, missing values, most frequent value and spread."""

from typing import Any

import numpy as np

from canopy.explore.profile import Profile
from canopy.explore.wording import significant

QUANTILES = {"min": 0.0, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75, "max": 1.0}


def describe_columns(profile: Profile) -> dict[str, dict[str, Any]]:
    """Describe the columns: features first, then the target, then those that are only listed.

    Returns:
        Column to kind, meaning, unit, number of missing values, of values outside the range and of distinct
        ones, the most frequent value (the smallest one of several) and its share of the present values.
    """
    schema = profile.schema
    columns: dict[str, dict[str, Any]] = {}
    for name in (*schema.features, schema.target.column):
        column = schema.columns.get(name, schema.target)
        totals = profile.counts[name].totals()
        present = totals.filter(totals["value"].is_valid())
        n_present = profile.n_rows - profile.n_missing[name]
        most_frequent = present["value"][0].as_py() if n_present else None
        n_most = present["n"][0].as_py() if n_present else 0
        columns[name] = {
            "kind": getattr(column, "kind", "target"),
            "meaning": column.meaning,
            "unit": getattr(column, "unit", ""),
            "n_missing": profile.n_missing[name],
            "n_out_of_range": profile.n_out_of_range[name],
            "n_distinct": len(present),
            # Where there are too many to count all.
            "is_lower_bound": not profile.counts[name].is_complete,
            "most_frequent": significant(most_frequent)
            if isinstance(most_frequent, float)
            else most_frequent and str(most_frequent),
            "most_frequent_share": significant(n_most / max(n_present, 1), digits=8),
        }
    for name in (*schema.keys, *schema.ignored):
        columns[name] = {"kind": schema.columns[name].kind, "meaning": schema.columns[name].meaning}
    return columns


def find_constant(
    columns: dict[str, dict[str, Any]],
    categories: dict[str, dict[str, Any]],
    n_rows: int,
    nearly_constant_share: float,
) -> dict[str, list[str]]:
    """Find the features, and 0/1 columns, that have one value in all rows, or in nearly all of them.

    Args:
        columns: What `describe_columns` returns.
        categories: What `describe_categories` returns of each categorical column.
        n_rows: Number of rows.
        nearly_constant_share: Share of the rows from which on a column is nearly constant.

    Returns:
        Names under `constant` and `nearly_constant`; a column is in one of the two at most. A missing value
        is a value of a categorical column.
    """
    constant, nearly = [], []
    for name, column in columns.items():
        if column["kind"] in ("numeric", "categorical", "datetime"):
            n_missing = column["n_missing"]
            is_category = column["kind"] == "categorical" and n_missing > 0
            most = max(column["most_frequent_share"] * (n_rows - n_missing), n_missing) / n_rows
            if column["n_distinct"] + is_category <= 1:
                constant.append(name)
            elif most >= nearly_constant_share:
                nearly.append(name)
    for column in categories.values():
        for name, category in column["categories"].items() if column["is_one_hot"] else ():
            if not category["n_rows"]:
                constant.append(name)
            elif 1 - category["n_rows"] / n_rows >= nearly_constant_share:
                nearly.append(name)
    return {"constant": constant, "nearly_constant": nearly}


def summarize_numeric(profile: Profile) -> dict[str, dict[str, float]]:
    """Give range, quartiles, mean and standard deviation of numeric columns that have values.

    Returns:
        Column to its figures, in the column's unit. Quartiles are those of the sample; the standard
        deviation is that of the rows themselves (divided by n_rows).
    """
    summaries = {}
    for name in profile.schema.numeric:
        moments, values = profile.moments[name], profile.sample[name]
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        figures = dict(zip(QUANTILES, np.quantile(values, [*QUANTILES.values()]).tolist(), strict=True))
        figures |= {"min": moments.low, "max": moments.high}
        figures |= {"mean": moments.mean, "standard_deviation": moments.deviation}
        summaries[name] = {key: significant(value) for key, value in figures.items()}
    return summaries
