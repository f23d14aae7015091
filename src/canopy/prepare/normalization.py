"""Put numeric columns on a common scale, with parameters that are saved beside the model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from canopy.files import read_json, write_json

Method = Literal["z_score", "min_max", "robust", "quantile_normal", "none"]
METHODS: tuple[Method, ...] = get_args(Method)

Values = NDArray[np.float64]

FORMAT = 1
N_QUANTILES = 1000
# The normal quantile of 1e-7: how far the ends of the data lie out, as scikit-learn's QuantileTransformer.
MAX_NORMAL = float(-ndtri(1e-7))


@dataclass(frozen=True, kw_only=True)
class Affine:
    """The scaling `(x - center) / scale`.

    Attributes:
        method: What chose the two numbers.
        center: In the column's unit.
        scale: In the column's unit, above 0.
        fill: What stands in for a missing value, in the column's unit; None if there is none.
    """

    method: Method
    center: float
    scale: float
    fill: float | None = None

    def apply(self, values: Values) -> Values:
        """Scale values of any shape."""
        return (fill_missing(values, self.fill) - self.center) / self.scale


@dataclass(frozen=True, kw_only=True)
class QuantileNormal:
    """The scaling of a column's distribution to a standard normal one.

    Attributes:
        values: Distinct quantiles in the column's unit, ascending, shape (Q,), Q at least 2.
        normals: Normal value that each becomes, shape (Q,); in between it is interpolated.
        fill: What stands in for a missing value, in the column's unit; None if there is none.
    """

    values: tuple[float, ...]
    normals: tuple[float, ...]
    method: Method = "quantile_normal"
    fill: float | None = None

    def apply(self, values: Values) -> Values:
        """Scale values of any shape; beyond the fitted range the outermost normal value stands."""
        return np.interp(fill_missing(values, self.fill), self.values, self.normals)


Scaling = Affine | QuantileNormal


def fill_missing(values: Values, fill: float | None) -> Values:
    """Put a number in the place of each NaN, if there is one to put there."""
    return values if fill is None else np.where(np.isnan(values), fill, values)


def _z_score(values: Values) -> Scaling:
    return Affine(method="z_score", center=float(values.mean()), scale=float(values.std()))


def _min_max(values: Values) -> Scaling:
    return Affine(method="min_max", center=float(values.min()), scale=float(np.ptp(values)))


def _robust(values: Values) -> Scaling:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Affine(method="robust", center=float(median), scale=float(high - low))


def _quantile_normal(values: Values) -> Scaling:
    shares = np.linspace(0, 1, min(N_QUANTILES, len(values)))
    quantiles, first, counts = np.unique(np.quantile(values, shares), return_index=True, return_counts=True)
    # A value that covers several quantiles stands in the middle of them.
    middle = (shares[first] + shares[first + counts - 1]) / 2
    normals = np.clip(ndtri(middle), -MAX_NORMAL, MAX_NORMAL)
    return QuantileNormal(values=tuple(quantiles.tolist()), normals=tuple(normals.tolist()))


def _none(values: Values) -> Scaling:  # noqa: ARG001 - one signature for all methods
    return Affine(method="none", center=0.0, scale=1.0)


_FITS: dict[Method, Callable[[Values], Scaling]] = {
    "z_score": _z_score,
    "min_max": _min_max,
    "robust": _robust,
    "quantile_normal": _quantile_normal,
    "none": _none,
}


def fit_scaling(
    values: NDArray[Any], method: Method, *, column: str, fill_missing_values: bool = False
) -> Scaling:
    """Choose a column's scaling from its training rows.

    Args:
        values: Values of the training rows, shape (n_rows,).
        method: How to choose it.
        column: Name of the column, for messages.
        fill_missing_values: Whether the median of the values stands in for those that are missing (NaN), here
            and wherever the scaling is applied.

    Returns:
        The scaling, in double precision.

    Raises:
        ValueError: If the method is unknown, or the column has no value or no spread to divide by.

    Examples:
        >>> fit_scaling(np.array([1.0, 2.0, 3.0]), "min_max", column="Slope")
        Affine(method='min_max', center=1.0, scale=2.0, fill=None)
    """
    if method not in METHODS:
        raise ValueError(f"normalize.methods must use one of {[*METHODS]}; found {method!r}")
    values = np.asarray(values, dtype=np.float64)
    fill = None
    if fill_missing_values:
        if np.isnan(values).all():
            raise ValueError(
                f"A column must have values to take the median of; found none in {column!r} on the training "
                "rows: add it to drop_columns.columns"
            )
        fill = float(np.nanmedian(values))
        values = fill_missing(values, fill)
    if method != "none" and values.min() == values.max():
        raise ValueError(
            f"A column must vary to be normalised; found {column!r} constant at {values[0]:g} on the "
            f"training rows: add it to drop_columns.columns"
        )
    scaling = _FITS[method](values)
    if isinstance(scaling, Affine) and scaling.scale == 0:
        raise ValueError(
            f"The method {method!r} must find a spread; found none between the quartiles of {column!r}: "
            "choose z_score for it in normalize.methods"
        )
    return replace(scaling, fill=fill)


def save_normalization(path: str | Path, scalings: Mapping[str, Scaling]) -> None:
    """Write the scaling of each numeric column as JSON."""
    columns = {
        name: {key: value for key, value in vars(scaling).items() if value is not None}
        for name, scaling in scalings.items()
    }
    write_json(path, {"format": FORMAT, "columns": columns})


def load_normalization(path: str | Path) -> dict[str, Scaling]:
    """Read what `save_normalization` wrote.

    Raises:
        ValueError: If the file has another format.
    """
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise ValueError(
            f'{path} must have the format {FORMAT}; found {content.get("format")!r}; run "make repro"'
        )
    return {name: _from_json(fields) for name, fields in content["columns"].items()}


def _from_json(fields: dict[str, Any]) -> Scaling:
    if fields["method"] == "quantile_normal":
        values, normals = tuple(fields["values"]), tuple(fields["normals"])
        return QuantileNormal(values=values, normals=normals, fill=fields.get("fill"))
    return Affine(**fields)
