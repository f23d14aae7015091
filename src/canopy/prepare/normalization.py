"""Put numeric columns on a common scale, with parameters that are saved beside the model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    """

    method: Method
    center: float
    scale: float

    def apply(self, values: Values) -> Values:
        """Scale values of any shape."""
        return (values - self.center) / self.scale


@dataclass(frozen=True, kw_only=True)
class QuantileNormal:
    """The scaling of a column's distribution to a standard normal one.

    Attributes:
        values: Distinct quantiles in the column's unit, ascending, shape (Q,), Q at least 2.
        normals: Normal value that each becomes, shape (Q,); in between it is interpolated.
    """

    values: tuple[float, ...]
    normals: tuple[float, ...]
    method: Method = "quantile_normal"

    def apply(self, values: Values) -> Values:
        """Scale values of any shape; beyond the fitted range the outermost normal value stands."""
        return np.interp(values, self.values, self.normals)


Scaling = Affine | QuantileNormal


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


def fit_scaling(values: NDArray[Any], method: Method, *, column: str) -> Scaling:
    """Choose a column's scaling from its training rows.

    Args:
        values: Values of the training rows, shape (n_rows,).
        method: How to choose it.
        column: Name of the column, for messages.

    Returns:
        The scaling, in double precision.

    Raises:
        ValueError: If the method is unknown, or the column has no spread to divide by.

    Examples:
        >>> fit_scaling(np.array([1.0, 2.0, 3.0]), "min_max", column="Slope")
        Affine(method='min_max', center=1.0, scale=2.0)
    """
    if method not in METHODS:
        raise ValueError(f"normalize.methods must use one of {[*METHODS]}; found {method!r}")
    values = np.asarray(values, dtype=np.float64)
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
    return scaling


def save_normalization(path: str | Path, scalings: Mapping[str, Scaling]) -> None:
    """Write the scaling of each numeric column as JSON."""
    columns = {name: dict(vars(scaling)) for name, scaling in scalings.items()}
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
        return QuantileNormal(values=tuple(fields["values"]), normals=tuple(fields["normals"]))
    return Affine(**fields)
