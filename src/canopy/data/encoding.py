"""From the rows of a table to what a net takes: numbers in single precision and codes of categories."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from canopy.data.schema import CategoricalFeature, Schema
from canopy.prepare.normalization import Scaling
from canopy.table.columns import OneHotGroup
from canopy.table.spec import TableSpec

# Category of the rows that set none of a group's columns, since some were dropped.
OTHER = "other"


class Encoded(NamedTuple):
    """The features of some rows.

    Attributes:
        numeric: Numeric features, shape (B, N).
        categorical: Codes of the categorical features, shape (B, C).
    """

    numeric: NDArray[np.float32]
    categorical: NDArray[np.int64]


def describe(spec: TableSpec) -> Schema:
    """Describe the encoded rows of a table; quantiles, counts and hashes are left empty."""
    return Schema(
        target=spec.target,
        class_values=spec.class_values,
        class_names=tuple(spec.classes.values()),
        numeric=tuple(column.name for column in spec.numeric),
        quantiles=(),
        categorical=tuple(
            CategoricalFeature(
                name=group.name, categories=(*group.columns, *(() if group.complete else (OTHER,)))
            )
            for group in spec.groups
        ),
        class_counts={},
        sha256={},
    )


def encode(table: pa.Table, spec: TableSpec, *, scalings: Mapping[str, Scaling] | None = None) -> Encoded:
    """Encode checked rows; the same rows give the same bits before and after the stage `normalize`.

    Args:
        table: The features of `spec`; other columns do not matter.
        spec: What they are, without the dropped ones.
        scalings: Scaling of each numeric column, where the table holds raw values; without it the table
            has been normalised.

    Returns:
        Numeric columns, scaled in double precision and then rounded; one code for each one-hot group
        (its column's place, or the number of columns where none is set). A value beyond single precision
        becomes infinite.

    Examples:
        >>> from canopy.table.columns import NumericColumn
        >>> slope = NumericColumn(name="slope", unit="degrees", meaning="Slope")
        >>> wet = OneHotGroup(name="soil", meaning="Soil", columns={"dry": "Dry", "wet": "Wet"})
        >>> spec = TableSpec(target="kind", classes={1: "a", 2: "b"}, numeric=(slope,), groups=(wet,))
        >>> encode(pa.table({"slope": [1.5, 2], "dry": [0, 1], "wet": [1, 0]}), spec)
        Encoded(numeric=array([[1.5],
               [2. ]], dtype=float32), categorical=array([[1],
               [0]]))
    """
    n_rows = table.num_rows
    numeric = np.empty((n_rows, len(spec.numeric)), dtype=np.float32)
    for index, column in enumerate(spec.numeric):
        values = table[column.name].to_numpy()
        with np.errstate(over="ignore"):
            numeric[:, index] = values if scalings is None else scalings[column.name].apply(values)
    categorical = np.empty((n_rows, len(spec.groups)), dtype=np.int64)
    for index, group in enumerate(spec.groups):
        categorical[:, index] = _codes(table, group)
    return Encoded(numeric, categorical)


def _codes(table: pa.Table, group: OneHotGroup) -> NDArray[np.int64]:
    codes = np.full(table.num_rows, len(group.columns), dtype=np.int64)
    for code, name in enumerate(group.columns):
        codes[table[name].to_numpy() == 1] = code
    return codes
