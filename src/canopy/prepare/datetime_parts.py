"""The numbers that a time is made of."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MICROSECONDS_PER_DAY = 86_400_000_000

Floats = NDArray[np.float64]


def as_floats(values: pa.Array) -> Floats:
    """Give numbers with NaN for null, shape (n_rows,)."""
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def datetime_parts(times: pa.Array) -> Mapping[str, Floats]:
    """Split times into numbers: year, month (1 to 12), day of the week (0 is Monday), hour, days since 1970.

    Examples:
        >>> import datetime
        >>> parts = datetime_parts(pa.array([datetime.datetime(2024, 2, 3, 6, 30), None]))
        >>> {name: values.tolist() for name, values in parts.items()}["hour"]
        [6.5, nan]
    """
    microseconds = as_floats(pc.cast(times, pa.int64()))
    return {
        "year": as_floats(pc.year(times)),
        "month": as_floats(pc.month(times)),
        "day_of_week": as_floats(pc.day_of_week(times)),
        "hour": microseconds % MICROSECONDS_PER_DAY * (24 / MICROSECONDS_PER_DAY),
        "time": microseconds / MICROSECONDS_PER_DAY,
    }
