"""Describe each column alone: kind, most frequent value, spread, and the classes by category or date."""

import calendar
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import entr

from canopy.explore.information import discrete_information
from canopy.explore.profile import Codes, Profile, crosstab
from canopy.explore.wording import moment
from canopy.prepare.scaling import MICROSECONDS_PER_DAY, datetime_parts

# Of a column with more categories than that, so many are listed.
N_LISTED, N_MOST_FREQUENT = 40, 20
# Of the parts of a date.
PARTS = {
    "year": [],
    "month": [*calendar.month_abbr],
    "day_of_week": [*calendar.day_name],
    "hour": [f"{hour:02d}:00" for hour in range(24)],
}
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
    classes: dict[str, dict[str, Any]] = {
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


def describe_dates(profile: Profile, name: str) -> dict[str, Any]:
    """Describe a datetime column of which the sample has values; the classes by part are the sample's."""
    days, class_names = profile.numbers(name), [*profile.classes.values()]
    present = ~np.isnan(days)
    times = pa.array(np.rint(days[present] * MICROSECONDS_PER_DAY).astype("datetime64[us]"))
    parts = {part: values.astype(np.int64) for part, values in datetime_parts(times).items()}
    return {
        "first": moment(np.nanmin(days)),
        "last": moment(np.nanmax(days)),
        "parts": {
            part: _describe_part(names, parts[part], profile.codes[present], class_names)
            for part, names in PARTS.items()
            if np.ptp(parts[part])
        },
    }


def _describe_part(names: list[str], values: Codes, codes: Codes, class_names: list[str]) -> dict[str, Any]:
    first = int(values.min())
    counts = crosstab(values - first, codes, n_second=len(class_names))
    return {
        "information_nat": discrete_information(counts),
        "values": {
            names[value] if names else str(value): {
                "share": float(row.sum() / counts.sum()),
                "class_shares": class_shares(row, class_names),
            }
            for value, row in enumerate(counts, start=first)
            if row.any()
        },
    }
