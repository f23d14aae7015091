"""Describe datetime columns: rows over time, and the classes by year, month, day of the week and hour."""

import calendar
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from canopy.explore.columns import class_shares
from canopy.explore.information import crosstab, discrete_information
from canopy.explore.profile import Codes, Profile
from canopy.explore.wording import significant
from canopy.prepare.reductions import Floats
from canopy.prepare.scaling import MICROSECONDS_PER_DAY, datetime_parts

NAMES = {
    "year": [],
    "month": [*calendar.month_abbr],
    "day_of_week": [*calendar.day_name],
    "hour": [f"{hour:02d}:00" for hour in range(24)],
}
# Numpy's unit, how many of them, and where they start: 1970 on a Thursday, weeks on a Monday.
UNITS = {
    "hour": ("h", 1, 0),
    "day": ("D", 1, 0),
    "week": ("D", 7, -3),
    "month": ("M", 1, 0),
    "year": ("Y", 1, 0),
}
# The finest unit is chosen of which the rows cover no more than so many, and most of these have rows.
N_UNITS = 80


def describe_dates(profile: Profile, name: str) -> dict[str, Any]:
    """Describe a datetime column that has values: its range, and the classes over time and by its parts.

    All but the range is estimated from the sample.
    """
    days, figures = profile.numbers[name], profile.figures[name]
    present = ~np.isnan(days)
    times, codes = _as_times(days[present]), profile.codes[present]
    parts = {part: values.astype(np.int64) for part, values in datetime_parts(pa.array(times)).items()}
    class_names = [*profile.classes.values()]
    return {
        "first": _written(_as_times(figures.low)),
        "last": _written(_as_times(figures.high)),
        "over_time": _over_time(times, codes, class_names, scale=profile.n_rows / len(present)),
        "parts": {
            part: _describe_part(names, parts[part], codes, class_names)
            for part, names in NAMES.items()
            if np.ptp(parts[part])
        },
    }


def _as_times(days: Floats | float) -> Any:
    return np.rint(days * MICROSECONDS_PER_DAY).astype("datetime64[us]")


def _describe_part(names: list[str], values: Codes, codes: Codes, class_names: list[str]) -> dict[str, Any]:
    first = int(values.min())
    counts = crosstab(values - first, codes, n_second=len(class_names))
    return {
        "information_nat": significant(discrete_information(counts), digits=4),
        "values": {
            names[value] if names else str(value): {
                "share": significant(row.sum() / counts.sum()),
                "class_shares": class_shares(row, class_names),
            }
            for value, row in enumerate(counts, start=first)
            if row.any()
        },
    }


def _over_time(
    times: NDArray[np.datetime64], codes: Codes, class_names: list[str], *, scale: float
) -> dict[str, Any]:
    for unit in UNITS:
        code, size, origin = UNITS[unit]
        bins = (times.astype(f"datetime64[{code}]").astype(np.int64) - origin) // size
        first, n_bins = bins.min(), int(np.ptp(bins)) + 1
        if n_bins <= min(N_UNITS, 2 * len(np.unique(bins))):
            break
    counts = crosstab(bins - first, codes, n_second=len(class_names)).T
    starts = ((first + np.arange(n_bins)) * size + origin).astype(f"datetime64[{code}]")
    return {
        "unit": unit,
        "starts": [*map(_written, starts)],
        "n_rows": {
            name: np.rint(of_class * scale).astype(np.int64).tolist()
            for name, of_class in zip(class_names, counts, strict=True)
            if of_class.any()
        },
    }


def _written(time: np.datetime64) -> str:
    """Write a time without parts that are zero: `2024-03-01 06:30`, `2024-03-01`."""
    text = str(time.astype("datetime64[s]") if time.dtype == "datetime64[us]" else time)
    return text.replace("T", " ").removesuffix(":00").removesuffix(" 00:00")
