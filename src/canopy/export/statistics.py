"""How the training rows were distributed: what new rows are compared with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from canopy.prepare.preprocessor import Inputs, Preprocessor
from canopy.schema.columns import Model

# Of each row, shape (n_rows,); None where all count alike.
Weights = NDArray[np.float32] | None
# Of the raw values: the usual number of the population stability index.
N_BINS = 10


class NumericStatistics(TypedDict):
    """A numeric column on the training rows that have a value, in its unit.

    A bin between `edges`, which holds its upper one, has about as many rows as the others. `shares` are those
    of the rows with a value, `missing` is that of all rows that have none.
    """

    min: float
    max: float
    mean: float
    edges: list[float]
    shares: list[float]
    missing: float


class TrainingStatistics(Model):
    """The training rows before any cap: numeric inputs, shares of categories and classes by name.

    Of a numeric target there are no classes, but its own statistics. Of rows with weights, all but `n_rows`
    is by them.
    """

    n_rows: int
    numeric: dict[str, NumericStatistics]
    categories: dict[str, dict[str, float]]
    classes: dict[str, float]
    target: NumericStatistics | None = None


def measure(
    inputs: Inputs,
    labels: NDArray[Any],
    weights: Weights = None,
    *,
    preprocessor: Preprocessor,
    classes: Mapping[str, str],
) -> TrainingStatistics:
    """Measure the training rows; labels are indices of classes or, without any, numbers in their unit."""
    numeric = zip(preprocessor.scalings, inputs.numeric.T, strict=True)
    categorical = zip(preprocessor.categorical.items(), inputs.categorical.T, strict=True)
    return TrainingStatistics(
        n_rows=len(labels),
        numeric={name: measure_numeric(values, weights) for name, values in numeric},
        categories={
            name: shares(codes, vocabulary.names, weights) for (name, vocabulary), codes in categorical
        },
        classes=shares(labels, [*classes.values()], weights) if classes else {},
        target=None if classes else measure_numeric(labels, weights),
    )


def shares(codes: NDArray[np.int64], names: Sequence[str], weights: Weights = None) -> dict[str, float]:
    """Give the share of each code, by name."""
    counts = np.bincount(codes, weights, minlength=len(names))[: len(names)]
    total = max(len(codes), 1) if weights is None else weights.sum(dtype=float)
    return dict(zip(names, (counts / total).tolist(), strict=True))


def measure_numeric(values: NDArray[Any], weights: Weights = None) -> NumericStatistics:
    """Measure the values of a column, shape (n_rows,), that are not missing."""
    is_present = ~np.isnan(values)
    if weights is not None:
        is_present &= weights > 0
    n_rows, present = len(values), values[is_present]
    # A column without any value is described as zeros, all of which are missing.
    values = present if len(present) else np.zeros(1)
    own = weights[is_present].astype(float) if weights is not None and len(present) else None
    levels = np.arange(1, N_BINS) / N_BINS
    edges = np.unique(np.quantile(values, levels, method="inverted_cdf", weights=own))
    # The last bin would be empty.
    edges = edges[edges < values.max()].astype(float)
    counts = np.bincount(np.searchsorted(edges, values), own, minlength=len(edges) + 1)
    n_present, total = (len(present), len(values)) if own is None else (own.sum(), own.sum())
    n_rows = n_rows if weights is None else weights.sum(dtype=float)
    return NumericStatistics(
        min=float(values.min()),
        max=float(values.max()),
        mean=float(values.mean() if own is None else np.average(values, weights=own)),
        edges=edges.tolist(),
        shares=(counts / total).tolist(),
        missing=float(1 - n_present / n_rows),
    )
