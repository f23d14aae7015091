"""From the rows of a table to what a net takes: numbers in single precision and codes of categories."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from canopy.data.schema import CategoricalFeature, Schema
from canopy.prepare.normalization import Scaling
from canopy.table.spec import TableSpec

# Category of the rows that set none of a group's columns, since some were dropped.
OTHER = "other"


class Encoded(NamedTuple):
    """The features of some rows.

    Attributes:
        numeric: Numeric features, shape (B, N).
        categorical: Codes of the categorical features, shape (B, C), of their `code_type`.
    """

    numeric: NDArray[np.float32]
    categorical: NDArray[np.integer[Any]]


def code_type(cardinalities: Iterable[int]) -> np.dtype[Any]:
    """Choose the smallest integer type that holds the codes of all features, among those that torch indexes.

    Examples:
        >>> [code_type([3, n]).name for n in (256, 257, 100_000)]
        ['uint8', 'int16', 'int32']
    """
    largest = max(cardinalities, default=1) - 1
    return next(np.dtype(kind) for kind in (np.uint8, np.int16, np.int32) if largest <= np.iinfo(kind).max)


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
        >>> from canopy.table.columns import NumericColumn, OneHotGroup
        >>> slope = NumericColumn(name="slope", unit="degrees", meaning="Slope")
        >>> wet = OneHotGroup(name="soil", meaning="Soil", columns={"dry": "Dry", "wet": "Wet"})
        >>> spec = TableSpec(target="kind", classes={1: "a", 2: "b"}, numeric=(slope,), groups=(wet,))
        >>> encode(pa.table({"slope": [1.5, 2], "dry": [0, 1], "wet": [1, 0]}), spec)
        Encoded(numeric=array([[1.5],
               [2. ]], dtype=float32), categorical=array([[1],
               [0]], dtype=uint8))
    """
    n_rows = table.num_rows
    numeric = np.empty((n_rows, len(spec.numeric)), dtype=np.float32)
    for index, column in enumerate(spec.numeric):
        values = table[column.name].to_numpy()
        with np.errstate(over="ignore"):
            numeric[:, index] = values if scalings is None else scalings[column.name].apply(values)
    kind = code_type(len(group.columns) + (not group.complete) for group in spec.groups)
    categorical = np.zeros((n_rows, len(spec.groups)), dtype=kind)
    for index, group in enumerate(spec.groups):
        if not group.complete:
            categorical[:, index] = len(group.columns)
        for code, name in enumerate(group.columns):
            categorical[table[name].to_numpy() == 1, index] = code
    return Encoded(numeric, categorical)
