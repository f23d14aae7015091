"""Scalings of numeric inputs, with parameters that are saved with the model."""

from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from canopy.schema.columns import Model

Method = Literal["z_score", "min_max", "robust", "quantile_normal", "none"]
METHODS: tuple[Method, ...] = get_args(Method)

Floats = NDArray[np.float64]

N_QUANTILES = 1000


class Affine(Model):
    """The scaling `(x - center) / scale`.

    Attributes:
        method: What chose the two numbers.
        center: In the unit of the input.
        scale: In the unit of the input, above 0.
        fill: Value that replaces a missing one, in the unit of the input; None if none may be missing.
    """

    kind: Literal["affine"] = "affine"
    method: Method
    center: float
    scale: float
    fill: float | None = None

    def feature_names(self, name: str) -> list[str]:
        return [name]

    def apply(self, values: Floats) -> list[Floats]:
        """Scale values of any shape."""
        return [(fill_missing(values, self.fill) - self.center) / self.scale]


class QuantileNormal(Model):
    """The scaling of a distribution to a standard normal one.

    Attributes:
        values: Distinct quantiles in the unit of the input, ascending, shape (Q,), Q at least 2.
        normals: Normal value of each, shape (Q,); in between it is interpolated.
        fill: Value that replaces a missing one, in the unit of the input; None if none may be missing.
    """

    kind: Literal["quantile_normal"] = "quantile_normal"
    method: Method = "quantile_normal"
    values: tuple[float, ...]
    normals: tuple[float, ...]
    fill: float | None = None

    def feature_names(self, name: str) -> list[str]:
        return [name]

    def apply(self, values: Floats) -> list[Floats]:
        """Scale values of any shape; beyond the fitted range they get the outermost normal value."""
        return [np.interp(fill_missing(values, self.fill), self.values, self.normals)]


class Cycle(Model):
    """Sine and cosine of a quantity that starts again, such as an hour of the day.

    Attributes:
        period: In the unit of the input.
        fill: Value that replaces a missing one; None if none may be missing.
    """

    kind: Literal["cycle"] = "cycle"
    period: float
    fill: float | None = None

    def feature_names(self, name: str) -> list[str]:
        """Name the two features that it gives.

        Examples:
            >>> Cycle(period=24).feature_names("when.hour")
            ['when.hour_sin', 'when.hour_cos']
        """
        return [f"{name}_sin", f"{name}_cos"]

    def apply(self, values: Floats) -> list[Floats]:
        """Give sine and cosine of values of any shape."""
        angle = fill_missing(values, self.fill) * (2 * np.pi / self.period)
        return [np.sin(angle), np.cos(angle)]


Scaling = Annotated[Affine | QuantileNormal | Cycle, Field(discriminator="kind")]


def fill_missing(values: Floats, fill: float | None) -> Floats:
    """Replace NaN by a number, if there is one."""
    return values if fill is None else np.where(np.isnan(values), fill, values)
