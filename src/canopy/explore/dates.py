"""Describe datetime columns: their range, and the classes by year, month, day of the week and hour."""

import calendar
from typing import Any

import numpy as np
import pyarrow as pa

from canopy.explore.columns import class_shares
from canopy.explore.information import discrete_information
from canopy.explore.profile import Codes, Profile, crosstab
from canopy.explore.wording import moment
from canopy.prepare.scaling import MICROSECONDS_PER_DAY, datetime_parts

NAMES = {
    "year": [],
    "month": [*calendar.month_abbr],
    "day_of_week": [*calendar.day_name],
    "hour": [f"{hour:02d}:00" for hour in range(24)],
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
            for part, names in NAMES.items()
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
