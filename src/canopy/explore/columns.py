"""Describe each column alone: kind, most frequent value, spread, classes, and categories by class."""

from typing import Any

import numpy as np
from scipy.special import entr

from canopy.explore.information import discrete_information
from canopy.explore.profile import Codes, Profile
from canopy.explore.wording import significant
from canopy.schema.columns import Categorical, Target

QUANTILES = {"min": 0.0, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75, "max": 1.0}
# Of a column with more categories than that, so many are listed.
N_LISTED, N_MOST_FREQUENT = 40, 20
# Rows from which on a category is not rare.
RARE = 10


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
        most_frequent, n_most = present.slice(0, 1).to_pylist()[0].values() if n_present else (None, 0)
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


def describe_target(target: Target, classes: dict[str, str], counts: Codes) -> dict[str, Any]:
    """Count the rows of each class.

    Args:
        target: The column.
        classes: Value to name of each class.
        counts: Rows of each class, shape (n_classes,).

    Returns:
        Count and share of each class, the ratio of the largest to the smallest class that has rows,
        the classes that are rarer than the target allows, and the entropy of the classes in nat.
    """
    shares, n_rows = counts / counts.sum(), dict(zip(classes.values(), counts.tolist(), strict=True))
    return {
        "column": target.column,
        "meaning": target.meaning,
        "classes": {
            name: {"value": value, "n_rows": n_rows[name], "share": significant(share)}
            for (value, name), share in zip(classes.items(), shares, strict=True)
        },
        "rare": [name for name, n in n_rows.items() if n < target.min_count],
        "min_count": target.min_count,
        "largest_to_smallest": significant(counts.max() / counts[counts > 0].min()),
        "entropy_nat": significant(entr(shares).sum()),
    }


def class_shares(counts: Codes, class_names: list[str]) -> dict[str, float]:
    """Give the share of each class that has rows.

    Examples:
        >>> class_shares(np.array([1, 0, 3]), ["a", "b", "c"])
        {'a': 0.25, 'c': 0.75}
    """
    shares = zip(class_names, counts / max(counts.sum(), 1), strict=True)
    return {name: significant(share, digits=4) for name, share in shares if share > 0}


def describe_categories(
    column: Categorical, values: list[str | None], counts: Codes, class_names: list[str]
) -> dict[str, Any]:
    """Give the frequency of each category of a column and the classes found in it.

    Args:
        column: The column.
        values: Its values, the most frequent first; None for missing ones.
        counts: Rows of each value and class, shape (n_values, n_classes).
        class_names: Names of the classes.

    Returns:
        The most frequent categories by value, those that `column` lists and no row has at the end; what
        the others have together; what rows without a value have; and how many values are not listed.
    """
    total, listed = counts.sum(axis=0), column.listed or {}
    rows = dict(zip(values, counts, strict=True))
    missing = rows.pop(None, None)
    names = [str(value) for value in rows]
    is_short = column.one_hot is not None or len(names) <= N_LISTED
    shown = names if is_short else names[:N_MOST_FREQUENT]
    others = [rows[name] for name in names[len(shown) :]]

    def describe(of_category: Codes) -> dict[str, Any]:
        n_rows = int(of_category.sum())
        nat = discrete_information(np.stack([total - of_category, of_category]))
        return {
            "n_rows": n_rows,
            "share": significant(n_rows / total.sum()),
            "class_shares": class_shares(of_category, class_names),
            "information_nat": significant(nat, digits=4),
        }

    return {
        "meaning": column.meaning,
        "is_one_hot": column.one_hot is not None,
        "n_values": len(rows),
        "n_rare": sum(int(of_category.sum()) < RARE for of_category in rows.values()),
        "n_unlisted": sum(name not in listed for name in names) if listed else 0,
        "categories": {
            name: {"name": listed.get(name, name), **describe(rows.get(name, np.zeros_like(total)))}
            for name in (*shown, *(value for value in listed if value not in rows))
        },
        "others": {"n_values": len(others), **describe(np.sum(others, axis=0))} if others else None,
        "missing": None if missing is None else describe(missing),
    }


def with_parts(columns: dict[str, Any], categories: dict[str, Any], n_rows: int) -> dict[str, Any]:
    """Choose the features, and describe each 0/1 column as they are: by its most frequent value, 0.

    Args:
        columns: What `describe_columns` returns.
        categories: What `describe_categories` returns of each categorical column.
        n_rows: Number of rows.
    """
    kinds = ("numeric", "categorical", "datetime")
    features = {name: column for name, column in columns.items() if column["kind"] in kinds}
    return features | {
        name: {
            **category,
            "kind": "0/1",
            "n_missing": 0,
            "n_distinct": 1 + (category["n_rows"] > 0),
            "most_frequent": "0",
            "most_frequent_share": 1 - category["n_rows"] / n_rows,
        }
        for column in categories.values()
        if column["is_one_hot"]
        for name, category in column["categories"].items()
    }


def find_constant(
    columns: dict[str, Any], categories: dict[str, Any], n_rows: int, nearly_constant_share: float
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
    for name, column in with_parts(columns, categories, n_rows).items():
        n_missing = column["n_missing"]
        is_category = column["kind"] == "categorical" and n_missing > 0
        most = max(column["most_frequent_share"] * (n_rows - n_missing), n_missing) / n_rows
        if column["n_distinct"] + is_category <= 1:
            constant.append(name)
        elif most >= nearly_constant_share:
            nearly.append(name)
    return {"constant": constant, "nearly_constant": nearly}
