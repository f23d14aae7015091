"""Numeric inputs of a table and their scalings, whose parameters are saved with the model."""

from typing import Annotated, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from canopy.prepare.reductions import Floats
from canopy.schema.columns import Model

Method = Literal["z_score", "min_max", "robust", "quantile_normal", "none"]
METHODS: tuple[Method, ...] = get_args(Method)
# Of a numeric target.
TargetMethod = Literal["z_score", "log1p", "quantile_normal"]
TARGET_METHODS: tuple[TargetMethod, ...] = get_args(TargetMethod)

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
        values, error = features[:, 0], _single_precision(features[:, 0])
        return _as_written(values * self.scale + self.center, error * self.scale)


class QuantileNormal(Model):
    """The scaling to a standard normal distribution: `values` are quantiles, between them it is linear."""

    kind: Literal["quantile_normal"] = "quantile_normal"
    method: Method = "quantile_normal"
    values: tuple[float, ...]
    normals: tuple[float, ...]
    fill: float | None = None

    @property
    def slope(self) -> float:
        """Values for each unit of a normal, by which labels are extrapolated."""
        return (self.values[-1] - self.values[0]) / (self.normals[-1] - self.normals[0])

    def feature_names(self, name: str) -> list[str]:
        return [name]

    def apply(self, values: Floats) -> list[Floats]:
        return [np.interp(_fill_missing(values, self.fill), self.values, self.normals)]

    def invert(self, features: Floats) -> Floats:
        """As that of `Affine`; values beyond those of the training rows become the nearest of these."""
        if self.normals[0] == self.normals[-1]:
            return np.full(len(features), np.mean(self.values))
        values, error = features[:, 0], _single_precision(features[:, 0])
        low, found, high = (np.interp(values + e, self.normals, self.values) for e in (-error, 0, error))
        return _as_written(found, high - low)


class Log1p(Model):
    """The scaling `(log(1 + x) - center) / scale` of a target above -1."""

    kind: Literal["log1p"] = "log1p"
    center: float
    scale: float

    def apply(self, values: Floats) -> list[Floats]:
        return [(np.log1p(values) - self.center) / self.scale]

    def invert(self, features: Floats) -> Floats:
        """As that of `Affine`."""
        values, error = features[:, 0] * self.scale + self.center, _single_precision(features[:, 0])
        return _as_written(np.expm1(values), error * self.scale * np.exp(values))


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
TargetScaling = Annotated[Affine | QuantileNormal | Log1p, Field(discriminator="kind")]


def scale_target(scaling: TargetScaling, values: Floats) -> Floats:
    """Scale labels, shape (n_rows,); quantiles are extrapolated beyond the training rows."""
    [scaled] = scaling.apply(values)
    if isinstance(scaling, QuantileNormal):
        scaled = scaled + (values - np.clip(values, scaling.values[0], scaling.values[-1])) / scaling.slope
    return scaled


def unscale_target(scaling: TargetScaling, scaled: Floats) -> Floats:
    """Give labels in their unit from what `scale_target` gave in single precision."""
    found = scaling.invert(scaled[:, None])
    if isinstance(scaling, QuantileNormal):
        beyond = scaled - np.clip(scaled, scaling.normals[0], scaling.normals[-1])
        found = np.where(beyond == 0, found, found + beyond * scaling.slope)
    return found


def _single_precision(values: Floats) -> Floats:
    """Give the distance of the next number in single precision."""
    return np.spacing(np.abs(values).astype(np.float32)).astype(np.float64)


def _as_written(values: Floats, errors: Floats) -> Floats:
    """Round each value to the digits that its error leaves."""
    errors = np.maximum(errors, 4 * np.spacing(np.abs(values)))
    steps = 10.0 ** np.clip(np.floor(-np.log10(errors)), -300, 300)
    return np.round(values * steps) / steps


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
