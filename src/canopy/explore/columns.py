"""Describe each column alone: kind, most frequent value, spread, classes, and categories by class."""

from typing import Any

import numpy as np
from scipy.special import entr

from canopy.explore.information import discrete_information
from canopy.explore.profile import Codes, Profile
from canopy.explore.wording import significant

QUANTILES = {"min": 0.0, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75, "max": 1.0}
# Of a column with more categories than that, so many are listed.
N_LISTED, N_MOST_FREQUENT = 40, 20
# Rows from which on a category is not rare.
RARE = 10


def describe_columns(profile: Profile) -> dict[str, dict[str, Any]]:
    """Describe the columns: features first, then the target, then those that are only listed."""
    schema = profile.schema
    columns: dict[str, dict[str, Any]] = {}
    for name, found in profile.figures.items():
        column, value = schema.columns.get(name, schema.target), found.most_frequent
        columns[name] = {
            "kind": getattr(column, "kind", "target"),
            "meaning": column.meaning,
            "unit": getattr(column, "unit", ""),
            "n_missing": found.n_missing,
            "n_out_of_range": found.n_out_of_range,
            "n_distinct": found.n_distinct,
            "most_frequent": significant(value) if isinstance(value, float) else value and str(value),
            "most_frequent_share": significant(
                (found.n_most_frequent or 0) / max(profile.n_rows - found.n_missing, 1), digits=8
            ),
        }
    for name in (*schema.keys, *schema.ignored):
        columns[name] = {"kind": schema.columns[name].kind, "meaning": schema.columns[name].meaning}
    return columns


def summarize_numeric(profile: Profile) -> dict[str, dict[str, float]]:
    """Give range, quartiles, mean and standard deviation, of all rows, of numeric columns that have values.

    Quartiles are those of the sample.
    """
    summaries = {}
    for name in profile.schema.numeric:
        found, values = profile.figures[name], profile.numbers[name]
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        figures = dict(zip(QUANTILES, np.quantile(values, [*QUANTILES.values()]).tolist(), strict=True))
        figures |= {"min": found.low, "max": found.high}
        figures |= {"mean": found.mean, "standard_deviation": found.deviation}
        summaries[name] = {key: significant(value) for key, value in figures.items()}
    return summaries


def describe_target(profile: Profile) -> dict[str, Any]:
    """Count the rows of each class, and describe how unequal the classes are."""
    target, counts = profile.schema.target, profile.class_counts
    shares, n_rows = counts / counts.sum(), dict(zip(profile.classes.values(), counts.tolist(), strict=True))
    return {
        "column": target.column,
        "meaning": target.meaning,
        "classes": {
            name: {"value": value, "n_rows": n_rows[name], "share": significant(share)}
            for (value, name), share in zip(profile.classes.items(), shares, strict=True)
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


def describe_categories(profile: Profile, name: str) -> dict[str, Any]:
    """Give the frequency of each category of a column and the classes found in it.

    Returns:
        The most frequent categories by value, those that the column lists and no row has at the end; what
        the others have together; what rows without a value have; and how many values are not listed.
    """
    column, total = profile.schema.categorical[name], profile.class_counts
    listed, n_values = column.listed or {}, profile.figures[name].n_distinct
    rows = dict(zip(*profile.counts[name], strict=True))
    missing = rows.pop(None, None)
    names = [str(value) for value in rows]
    is_short = column.one_hot is not None or n_values <= N_LISTED
    shown = names if is_short else names[:N_MOST_FREQUENT]
    n_frequent = sum(int(of_category.sum()) >= RARE for of_category in rows.values())

    def describe(of_category: Codes) -> dict[str, Any]:
        n_rows = int(of_category.sum())
        nat = discrete_information(np.stack([total - of_category, of_category]))
        return {
            "n_rows": n_rows,
            "share": significant(n_rows / total.sum()),
            "class_shares": class_shares(of_category, [*profile.classes.values()]),
            "information_nat": significant(nat, digits=4),
        }

    found = {
        "meaning": column.meaning,
        "is_one_hot": column.one_hot is not None,
        "n_values": n_values,
        "n_rare": n_values - n_frequent,
        "n_unlisted": sum(value not in listed for value in names) if listed else 0,
        "categories": {
            value: {"name": listed.get(value, value), **describe(rows.get(value, np.zeros_like(total)))}
            for value in (*shown, *(value for value in listed if value not in rows))
        },
        "others": None,
        "missing": None if missing is None else describe(missing),
    }
    if n_others := n_values - len(shown):
        others = total - sum(rows[value] for value in shown) - (0 if missing is None else missing)
        found["others"] = {"n_values": n_others, **describe(others)}
    return found


def with_parts(columns: dict[str, Any], categories: dict[str, Any], n_rows: int) -> dict[str, Any]:
    """Choose the features, and describe each 0/1 column as they are: by its most frequent value, 0."""
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
    """Find the features, and 0/1 columns, that have one value in all rows, or in at least a share of them.

    A missing value is a value of a categorical column.
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
