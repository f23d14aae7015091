"""Numeric inputs of a table and their scalings, whose parameters are saved with the model."""

import math
from typing import Annotated, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from canopy.prepare.reductions import Floats
from canopy.schema.columns import Model

Method = Literal["z_score", "min_max", "robust", "quantile_normal", "none"]
METHODS: tuple[Method, ...] = get_args(Method)

MICROSECONDS_PER_DAY = 86_400_000_000


class Affine(Model):
    """The scaling `(x - center) / scale`; as in the others, `fill` replaces missing values."""

    kind: Literal["affine"] = "affine"
    method: Method
    center: float
    scale: float
    fill: float | None = None

    def feature_names(self, name: str) -> list[str]:
        return [name]

    def apply(self, values: Floats) -> list[Floats]:
        return [(_fill_missing(values, self.fill) - self.center) / self.scale]

    def invert(self, features: Floats) -> Floats:
        """Give values in the table's unit from what `apply` gave in single precision, shape (n_rows, 1)."""
        # Single precision has seven digits: what is behind them is no part of the value.
        decimals = min(6 - math.ceil(math.log10(self.scale)), 300)
        return np.round(features[:, 0] * self.scale + self.center, decimals)


class QuantileNormal(Model):
    """The scaling to a standard normal distribution: `values` are quantiles, between them it is linear."""

    kind: Literal["quantile_normal"] = "quantile_normal"
    method: Method = "quantile_normal"
    values: tuple[float, ...]
    normals: tuple[float, ...]
    fill: float | None = None

    def feature_names(self, name: str) -> list[str]:
        return [name]

    def apply(self, values: Floats) -> list[Floats]:
        return [np.interp(_fill_missing(values, self.fill), self.values, self.normals)]

    def invert(self, features: Floats) -> Floats:
        """As that of `Affine`; values beyond those of the training rows become the nearest of these."""
        if self.normals[0] == self.normals[-1]:
            return np.full(len(features), np.mean(self.values))
        return np.interp(features[:, 0], self.normals, self.values)


class Cycle(Model):
    """Sine and cosine of a quantity that starts again after a `period`, such as an hour of the day."""

    kind: Literal["cycle"] = "cycle"
    period: float
    fill: float | None = None

    def feature_names(self, name: str) -> list[str]:
        return [f"{name}_sin", f"{name}_cos"]

    def apply(self, values: Floats) -> list[Floats]:
        angle = _fill_missing(values, self.fill) * (2 * np.pi / self.period)
        return [np.sin(angle), np.cos(angle)]

    def invert(self, features: Floats) -> Floats:
        """As that of `Affine`, from 0 to below the period, of sine and cosine, shape (n_rows, 2)."""
        turns = np.arctan2(features[:, 0], features[:, 1]) / (2 * np.pi)
        return np.round(turns * self.period, 4) % self.period


Scaling = Annotated[Affine | QuantileNormal | Cycle, Field(discriminator="kind")]


def _fill_missing(values: Floats, fill: float | None) -> Floats:
    return values if fill is None else np.where(np.isnan(values), fill, values)


def as_floats(values: pa.Array) -> Floats:
    """Give numbers with NaN for null, shape (n_rows,)."""
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def datetime_parts(times: pa.Array) -> dict[str, Floats]:
    """Split times into year, month (1 to 12), day of the week (0 is Monday), hour and days since 1970."""
    microseconds = as_floats(pc.cast(times, pa.int64()))
    return {
        "year": as_floats(pc.year(times)),
        "month": as_floats(pc.month(times)),
        "day_of_week": as_floats(pc.day_of_week(times)),
        "hour": microseconds % MICROSECONDS_PER_DAY * (24 / MICROSECONDS_PER_DAY),
        "time": microseconds / MICROSECONDS_PER_DAY,
    }
