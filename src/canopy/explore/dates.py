"""Describe datetime columns: rows over time, and the classes by year, month, day of the week and hour."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from canopy.explore.classes import class_shares
from canopy.explore.information import crosstab, discrete_information
from canopy.explore.profile import Profile
from canopy.explore.wording import significant
from canopy.prepare.datetime_parts import MICROSECONDS_PER_DAY, datetime_parts

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Times = NDArray[np.datetime64]

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
NAMES: dict[str, dict[int, str]] = {
    "month": dict(enumerate(MONTHS, 1)),
    "day_of_week": dict(enumerate(DAYS)),
    "hour": {hour: f"{hour:02d}:00" for hour in range(24)},
}
# The finest unit is chosen of which the rows cover no more than so many, and most of these have rows.
UNITS = {"hour": "h", "day": "D", "week": "W", "month": "M", "year": "Y"}
N_UNITS = 80


def describe_dates(profile: Profile, name: str) -> dict[str, Any]:
    """Describe a datetime column that has values.

    Returns:
        First and last time; rows of each class over time; and for each part that varies its information on
        the class and, for each value, the share of the rows and of the classes. All but the first two are
        estimated from the sample.
    """
    days, codes = profile.sample[name], profile.codes
    present = ~np.isnan(days)
    days, codes = days[present], codes[present]
    times = as_times(days)
    class_names = [*profile.classes.values()]
    low, high = as_times(np.array([profile.moments[name].low, profile.moments[name].high]))
    return {
        "first": _written(low),
        "last": _written(high),
        "over_time": _over_time(times, codes, class_names, scale=profile.n_rows / len(present)),
        "parts": {
            part: _describe_part(part, values, codes, class_names)
            for part, values in _parts(times).items()
            if values.min() < values.max()
        },
    }


def as_times(days: Floats) -> Times:
    """Turn days since 1970 into times.

    Examples:
        >>> as_times(np.array([0.5])).astype(str).tolist()
        ['1970-01-01T12:00:00.000000']
    """
    return np.asarray(np.rint(days * MICROSECONDS_PER_DAY), "datetime64[us]")


def _parts(times: Times) -> dict[str, Codes]:
    parts = datetime_parts(pa.array(times))
    return {part: parts[part].astype(np.int64) for part in ("year", "month", "day_of_week", "hour")}


def _describe_part(part: str, values: Codes, codes: Codes, class_names: list[str]) -> dict[str, Any]:
    first = int(values.min())
    counts = crosstab(values - first, codes, n_second=len(class_names))
    names = NAMES.get(part, {})
    return {
        "information_nat": significant(discrete_information(counts), digits=4),
        "values": {
            names.get(value, str(value)): {
                "share": significant(row.sum() / counts.sum()),
                "class_shares": class_shares(row, class_names),
            }
            for value, row in enumerate(counts, start=first)
            if row.any()
        },
    }


def _over_time(times: Times, codes: Codes, class_names: list[str], *, scale: float) -> dict[str, Any]:
    for unit, code in UNITS.items():
        # Weeks of numpy start on Thursday, as 1970 does.
        shifted = times + np.timedelta64(3, "D") if unit == "week" else times
        bins = shifted.astype(f"datetime64[{code}]")
        first, n_bins = bins.min(), int((bins.max() - bins.min()).astype(np.int64)) + 1
        if unit == "year" or n_bins <= min(N_UNITS, 2 * len(np.unique(bins))):
            break
    counts = crosstab((bins - first).astype(np.int64), codes, n_second=len(class_names)).T
    starts = (first + np.arange(n_bins)).astype(f"datetime64[{'D' if unit == 'week' else code}]")
    starts = starts - np.timedelta64(3, "D") if unit == "week" else starts
    return {
        "unit": unit,
        "starts": [_written(start) for start in starts],
        "n_rows": {
            name: np.rint(of_class * scale).astype(np.int64).tolist()
            for name, of_class in zip(class_names, counts, strict=True)
            if of_class.any()
        },
    }


def _written(time: np.datetime64) -> str:
    """Write a time without parts that are zero.

    Examples:
        >>> _written(np.datetime64("2024-03-01T00:00:00")), _written(np.datetime64("2024-03-01T06:30"))
        ('2024-03-01', '2024-03-01 06:30')
    """
    text = str(time.astype("datetime64[s]") if time.dtype == "datetime64[us]" else time)
    return text.replace("T", " ").removesuffix(":00").removesuffix(" 00:00")
