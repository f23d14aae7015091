"""The rows of a split as models of other packages take them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from canopy.data.dataset import load_rows
from canopy.schema.tensors import Schema

Ints = NDArray[np.int64]


class Rows(NamedTuple):
    """Features of the rows of a split, categorical ones as the type `category`, and the label of each.

    Where rows have weights, these are given too.
    """

    features: pd.DataFrame
    labels: NDArray[Any]
    weights: NDArray[np.float32] | None = None


def as_rows(
    numeric: NDArray[np.float32], codes: Ints, labels: NDArray[Any], *, cardinalities: tuple[int, ...]
) -> Rows:
    """Lay out a split's tensors as trees take them; a feature's cardinality is the code of the unseen."""
    columns: dict[str, Any] = {f"n{index}": values for index, values in enumerate(numeric.T)}
    for index, (values, n) in enumerate(zip(codes.T, cardinalities, strict=True)):
        columns[f"c{index}"] = pd.Categorical.from_codes(values, categories=pd.RangeIndex(n + 1))
    return Rows(pd.DataFrame(columns), labels)


def load_split(folder: str | Path, split: str, schema: Schema) -> Rows:
    """Load the tensors of a split as the rows of a baseline."""
    rows = load_rows(folder, split, schema).rows
    codes = rows.categorical.numpy().astype(np.int64)
    found = as_rows(rows.numeric.numpy(), codes, rows.labels.numpy(), cardinalities=schema.cardinalities)
    weights = rows.row_weights
    return found if weights is None else found._replace(weights=weights.numpy())
