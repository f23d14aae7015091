"""How the training rows were distributed: what new rows are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from canopy.table.spec import TableSpec

if TYPE_CHECKING:
    import pyarrow as pa

# Of the raw values: the usual number of the population stability index.
N_BINS = 10


class NumericStatistics(TypedDict):
    """A numeric column on the training rows that have a value, in its unit.

    Attributes:
        min: Least value.
        max: Greatest value.
        mean: Mean.
        edges: Edges between bins that hold about equally many rows, ascending; a bin holds its upper edge.
        shares: Share of the rows in each bin, one more than there are edges.
    """

    min: float
    max: float
    mean: float
    edges: list[float]
    shares: list[float]


@dataclass(frozen=True, kw_only=True)
class TrainingStatistics:
    """The training rows, as they stand in the raw table and before any class is cut.

    Attributes:
        n_rows: How many.
        numeric: Each numeric column.
        groups: Share of the rows that set each column of each one-hot group.
        classes: Share of each class, by name.
    """

    n_rows: int
    numeric: dict[str, NumericStatistics]
    groups: dict[str, dict[str, float]]
    classes: dict[str, float]


def measure(table: "pa.Table", spec: TableSpec) -> TrainingStatistics:
    """Measure the training rows.

    Args:
        table: Their raw values, all columns of `spec`.
        spec: What they are.
    """
    labels = table[spec.target].to_numpy()
    return TrainingStatistics(
        n_rows=table.num_rows,
        numeric={column.name: measure_numeric(table[column.name].to_numpy()) for column in spec.numeric},
        groups={
            group.name: {name: float((table[name].to_numpy() == 1).mean()) for name in group.columns}
            for group in spec.groups
        },
        classes={name: float((labels == value).mean()) for value, name in spec.classes.items()},
    )


def measure_numeric(values: NDArray[Any]) -> NumericStatistics:
    """Measure the values of a column, shape (n_rows,), that are not missing.

    Examples:
        >>> statistics = measure_numeric(np.arange(20))
        >>> statistics["edges"][:3], statistics["shares"][:3]
        ([1.0, 3.0, 5.0], [0.1, 0.1, 0.1])
    """
    inner = np.arange(1, N_BINS) / N_BINS
    values = values[~np.isnan(values)]
    edges = np.unique(np.quantile(values, inner, method="inverted_cdf"))
    # The last bin would be empty.
    edges = edges[edges < values.max()].astype(float)
    return NumericStatistics(
        min=float(values.min()),
        max=float(values.max()),
        mean=float(values.mean()),
        edges=edges.tolist(),
        shares=(count_bins(values, edges) / len(values)).tolist(),
    )


def count_bins(values: NDArray[Any], edges: Sequence[float] | NDArray[Any]) -> NDArray[np.int64]:
    """Count the values in each bin; one on an edge belongs to the bin below it, a missing one to none.

    Examples:
        >>> count_bins(np.array([0.0, 1.0, 1.5]), [1.0]).tolist()
        [2, 1]
    """
    counts: NDArray[np.int64] = np.bincount(
        np.searchsorted(edges, values[~np.isnan(values)], side="left"), minlength=len(edges) + 1
    )
    return counts


def bounded(spec: TableSpec, numeric: Mapping[str, NumericStatistics]) -> TableSpec:
    """Give each numeric column a range with two ends, beyond which a model's answer would mean nothing.

    Args:
        spec: The raw table.
        numeric: Its columns on the training rows.

    Returns:
        The same table; an end that is not known lies as far beyond the training rows as they are spread.
    """
    columns = []
    for column in spec.numeric:
        found = numeric[column.name]
        spread = found["max"] - found["min"]
        low = column.low if np.isfinite(column.low) else found["min"] - spread
        high = column.high if np.isfinite(column.high) else found["max"] + spread
        columns.append(replace(column, low=float(low), high=float(high)))
    return replace(spec, numeric=tuple(columns))
