"""Describe each column alone: kind, most frequent value, spread, classes, and categories by class."""

from typing import Any

import numpy as np
from scipy.special import entr

from canopy.explore.information import discrete_information
from canopy.explore.profile import Codes, Profile
from canopy.explore.wording import moment

# Of a column with more categories than that, so many are listed.
N_LISTED, N_MOST_FREQUENT = 40, 20
# Rows from which on a category is not rare.
RARE = 10


def describe_columns(profile: Profile) -> dict[str, dict[str, Any]]:
    """Describe the columns: features first, then the target, then those that are only listed."""
    schema = profile.schema
    columns: dict[str, dict[str, Any]] = {}
    for name in (*profile.frame, *schema.keys, *schema.ignored):
        column = schema.columns.get(name, schema.target)
        columns[name] = {
            "kind": getattr(column, "kind", "target"),
            "meaning": column.meaning,
            "unit": getattr(column, "unit", ""),
        }
    for name, found in columns.items():
        if name not in profile.frame:
            continue
        values, counts = profile.frame[name], profile.value_counts(name)
        most = counts.index[0] if len(counts) else None
        found |= {
            "n_missing": int(values.isna().sum()),
            "n_out_of_range": 0,
            "n_distinct": len(counts),
            "most_frequent": moment(most) if found["kind"] == "datetime" and most is not None else most,
            "most_frequent_share": counts.iloc[0] / counts.sum() if len(counts) else 0.0,
        }
        if name in schema.numeric and most is not None:
            inside = values.between(schema.numeric[name].low, schema.numeric[name].high)
            found["n_out_of_range"] = int((values.notna() & ~inside).sum())
            found |= {"min": values.min(), "max": values.max(), "mean": values.mean()}
            found["standard_deviation"] = values.std(ddof=0)
            quartiles = values.quantile([0.25, 0.5, 0.75])
            found |= dict(zip(("lower_quartile", "median", "upper_quartile"), quartiles, strict=True))
    return columns


def describe_target(profile: Profile) -> dict[str, Any]:
    """Count the rows of each class, and describe how unequal the classes are."""
    target, counts = profile.schema.target, profile.class_counts
    shares = counts / counts.sum()
    classes = {
        name: {"value": value, "n_rows": int(n), "share": float(share)}
        for (value, name), n, share in zip(profile.classes.items(), counts, shares, strict=True)
    }
    return {
        "column": target.column,
        "meaning": target.meaning,
        "classes": classes,
        "rare": [name for name, found in classes.items() if found["n_rows"] < target.min_count],
        "min_count": target.min_count,
        "largest_to_smallest": float(counts.max() / counts[counts > 0].min()),
        "entropy_nat": float(entr(shares).sum()),
    }


def class_shares(counts: Codes, class_names: list[str]) -> dict[str, float]:
    """Give the share of each class that has rows."""
    shares = (counts / max(counts.sum(), 1)).tolist()
    return {name: share for name, share in zip(class_names, shares, strict=True) if share}


def describe_categories(profile: Profile, name: str) -> dict[str, Any]:
    """Give the frequency of each category of a column and the classes found in it.

    The `categories` are the most frequent ones, and at the end those that the column lists and no row has.
    """
    column, total = profile.schema.categorical[name], profile.class_counts
    listed, n_rows = column.listed or {}, profile.value_counts(name)
    n_values, is_one_hot = len(n_rows), column.one_hot is not None
    counts = profile.category_counts(name)
    n_shown = n_values if is_one_hot or n_values <= N_LISTED else N_MOST_FREQUENT
    shown = dict(zip(n_rows.index[:n_shown], counts, strict=False))

    def describe(of_category: Codes) -> dict[str, Any]:
        return {
            "n_rows": int(of_category.sum()),
            "share": float(of_category.sum() / total.sum()),
            "class_shares": class_shares(of_category, [*profile.classes.values()]),
            "information_nat": discrete_information(np.stack([total - of_category, of_category])),
        }

    n_others, n_missing = n_values - len(shown), int(counts[-1].sum())
    absent = {value: np.zeros_like(total) for value in listed if value not in n_rows.index}
    return {
        "meaning": column.meaning,
        "is_one_hot": is_one_hot,
        "n_values": n_values,
        "n_rare": int((n_rows < RARE).sum()),
        "n_unlisted": sum(value not in listed for value in n_rows.index) if listed else 0,
        "categories": {
            value: {"name": listed.get(value, value), **describe(of_category)}
            for value, of_category in (shown | absent).items()
        },
        "others": {"n_values": n_others, **describe(counts[n_shown:-1].sum(axis=0))} if n_others else None,
        "missing": describe(counts[-1]) if n_missing else None,
    }


def with_parts(columns: dict[str, Any], categories: dict[str, Any], n_rows: int) -> dict[str, Any]:
    """Choose the features, and describe each 0/1 column as they are: by its most frequent value, 0."""
    kinds = ("numeric", "categorical", "datetime")
    features = {name: column for name, column in columns.items() if column["kind"] in kinds}
    for column in categories.values():
        for name, category in column["categories"].items() if column["is_one_hot"] else ():
            n_set = category["n_rows"]
            features[name] = category | {"kind": "0/1", "n_missing": 0, "n_distinct": 1 + (n_set > 0)}
            features[name] |= {"most_frequent": "0", "most_frequent_share": 1 - n_set / n_rows}
    return features


def find_constant(features: dict[str, Any], n_rows: int, share: float) -> dict[str, list[str]]:
    """Find what of `with_parts` has one value in all rows, or in at least a share of them.

    A missing value is a value of a categorical column.
    """
    constant, nearly = [], []
    for name, column in features.items():
        n_missing = column["n_missing"]
        is_category = column["kind"] == "categorical" and n_missing > 0
        if column["n_distinct"] + is_category <= 1:
            constant.append(name)
        elif max(column["most_frequent_share"] * (n_rows - n_missing), n_missing) >= share * n_rows:
            nearly.append(name)
    return {"constant": constant, "nearly_constant": nearly}
