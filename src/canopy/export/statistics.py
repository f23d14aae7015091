"""How the training rows were distributed: what new rows are compared with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from canopy.prepare.preprocessor import Inputs, Preprocessor
from canopy.schema.columns import Model

# Of the raw values: the usual number of the population stability index.
N_BINS = 10


class NumericStatistics(TypedDict):
    """A numeric column on the training rows that have a value, in its unit.

    Attributes:
        min: Least value.
        max: Greatest value.
        mean: Mean.
        edges: Edges between bins that hold about equally many rows, ascending; a bin holds its upper edge.
        shares: Share of these rows in each bin, one more than there are edges.
        missing: Share of all rows that have no value.
    """

    min: float
    max: float
    mean: float
    edges: list[float]
    shares: list[float]
    missing: float


class TrainingStatistics(Model):
    """The training rows, as they are in the raw table and before any class is cut.

    Attributes:
        n_rows: How many.
        numeric: Each numeric input.
        categories: Share of each category of each categorical column, by name.
        classes: Share of each class, by name.
    """

    n_rows: int
    numeric: dict[str, NumericStatistics]
    categories: dict[str, dict[str, float]]
    classes: dict[str, float]


def measure(
    inputs: Inputs, labels: NDArray[np.int64], *, preprocessor: Preprocessor, classes: Mapping[str, str]
) -> TrainingStatistics:
    """Measure the training rows."""
    codes = inputs.categorical.T
    return TrainingStatistics(
        n_rows=len(labels),
        numeric={
            name: measure_numeric(values)
            for name, values in zip(preprocessor.scalings, inputs.numeric.T, strict=True)
        },
        categories={
            name: shares(found, vocabulary.names)
            for (name, vocabulary), found in zip(preprocessor.categorical.items(), codes, strict=True)
        },
        classes=shares(labels, [*classes.values()]),
    )


def shares(codes: NDArray[np.int64], names: Sequence[str]) -> dict[str, float]:
    """Give the share of each code, by name.

    Examples:
        >>> shares(np.array([0, 1, 1, 1]), ["a", "b"])
        {'a': 0.25, 'b': 0.75}
    """
    counts = np.bincount(codes, minlength=len(names))[: len(names)]
    return dict(zip(names, (counts / max(len(codes), 1)).tolist(), strict=True))


def measure_numeric(values: NDArray[Any]) -> NumericStatistics:
    """Measure the values of a column, shape (n_rows,), that are not missing.

    Examples:
        >>> statistics = measure_numeric(np.arange(20))
        >>> statistics["edges"][:3], statistics["shares"][:3]
        ([1.0, 3.0, 5.0], [0.1, 0.1, 0.1])
    """
    inner = np.arange(1, N_BINS) / N_BINS
    n_rows = len(values)
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
        missing=1 - len(values) / n_rows,
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
