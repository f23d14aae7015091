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
from canopy.schema.columns import Target

# Of a column with more categories than that, so many are listed.
N_LISTED, N_MOST_FREQUENT = 40, 20
# Rows from which on a category is not rare.
RARE = 10
# Parts of a date, with the names of their values.
PARTS = {
    "year": [],
    "month": [*calendar.month_abbr],
    "day_of_week": [*calendar.day_name],
    "hour": [f"{hour:02d}:00" for hour in range(24)],
}


def describe_columns(profile: Profile) -> dict[str, dict[str, Any]]:
    """Describe the columns: features first, then the target, then those that are only listed."""
    schema = profile.schema
    columns: dict[str, dict[str, Any]] = {}
    weights = [schema.weight] if schema.weight else []
    for name in (*profile.frame, *schema.keys, *weights, *schema.ignored):
        column = schema.columns.get(name, schema.target)
        kind = "target" if isinstance(column, Target) else column.kind
        unit = getattr(column, "unit", "")
        found = columns[name] = {"kind": kind, "meaning": column.meaning, "unit": unit}
        if name not in profile.frame:
            continue
        counts, moments = profile.value_counts(name), profile.moments[name]
        most = counts.index[0] if len(counts) else None
        found |= {
            "n_missing": profile.n_missing[name],
            "n_out_of_range": profile.n_out_of_range[name],
            "n_distinct": len(counts),
            "most_frequent": moment(most) if found["kind"] == "datetime" and most is not None else most,
            "most_frequent_share": counts.iloc[0] / counts.sum() if len(counts) else 0.0,
        }
        if name in schema.numeric and most is not None:
            found |= {"min": moments.low, "max": moments.high, "mean": moments.mean}
            found["standard_deviation"] = moments.deviation
            quartiles = profile.frame[name].quantile([0.25, 0.5, 0.75])
            found |= dict(zip(("lower_quartile", "median", "upper_quartile"), quartiles, strict=True))
    return columns


def describe_target(profile: Profile) -> dict[str, Any]:
    """Count the rows of each class, and describe how unequal the classes are."""
    target, counts = profile.schema.target, profile.class_counts
    shares = counts / profile.n_rows
    classes: dict[str, dict[str, Any]] = {
        name: {"value": value, "n_rows": int(n), "share": float(share)}
        for (value, name), n, share in zip(profile.classes.items(), counts, shares, strict=True)
    }
    return {
        "column": target.column,
        "meaning": target.meaning,
        "is_numeric": target.is_numeric,
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
    """Describe the most frequent categories, then those that are listed and have no row."""
    column, counts = profile.schema.categorical[name], profile.category_counts(name)
    listed, n_rows, total = column.listed or {}, profile.value_counts(name), counts.sum(axis=0)
    n_values, is_one_hot = len(n_rows), column.one_hot is not None
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
    """Describe a datetime column of which the sample has values: its ends, and the classes by part."""
    days, class_names = profile.numbers(name), [*profile.classes.values()]
    present = ~np.isnan(days)
    times = datetime_parts(pa.array(np.rint(days[present] * MICROSECONDS_PER_DAY).astype("datetime64[us]")))
    parts = {}
    for part, names in PARTS.items():
        values = times[part].astype(np.int64)
        if not np.ptp(values):
            continue
        first = int(values.min())
        counts = crosstab(values - first, profile.codes[present], n_second=len(class_names))
        parts[part] = {
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
    moments = profile.moments[name]
    return {"first": moment(moments.low), "last": moment(moments.high), "parts": parts}
