"""Find what the numeric columns already say about one another."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from canopy.prepare.reductions import Floats

# Added to the correlations' diagonal: columns that are exact functions of others get R² = 1, not a failure.
RIDGE = 1e-9
# Pairs to show even where none is highly correlated.
N_CLOSEST = 8
# Rows times pairs of columns that a matrix is computed from, in seconds.
MOST_PRODUCTS = 500_000_000


def variance_explained(frame: pd.DataFrame) -> Floats:
    """Compute the share of each column's variance that a linear function of the others explains (R²).

    One minus the reciprocal of the variance inflation factor (Marquardt, 1970, Technometrics 12: 591-612).
    Missing values are the mean: correlations of pairs on different rows would not fit together.
    """
    matrix = frame.fillna(frame.mean()).corr().fillna(0).to_numpy(copy=True)
    np.fill_diagonal(matrix, 1 + RIDGE)
    return np.clip(1 - 1 / np.diag(np.linalg.inv(matrix)), 0, 1)


def describe_correlation(columns: Mapping[str, Floats], *, high: float, shown: list[str]) -> dict[str, Any]:
    """Give Pearson's correlations of numeric columns, and the pairs that are highly correlated.

    Each is that of the rows that have both values; with a constant column it is 0. Pairs are strongest first,
    the matrix is that of the columns `shown`, and R² of each column is that given all others.
    """
    frame = pd.DataFrame(columns)
    frame = frame[:: 1 + frame.size * len(columns) // MOST_PRODUCTS]
    matrix = frame.corr().fillna(0).clip(-1, 1)
    values = matrix.to_numpy()
    first, second = np.triu_indices(len(columns), 1)
    strengths = np.abs(values[first, second])
    n_high = int((strengths >= high).sum())
    order = np.argsort(-strengths, kind="stable")[: max(n_high, N_CLOSEST)]
    strongest = [
        {"columns": [matrix.index[i], matrix.index[j]], "pearson": float(values[i, j])}
        for i, j in zip(first[order], second[order], strict=True)
    ]
    return {
        "high_correlation": high,
        "high_pairs": strongest[:n_high],
        "closest_pairs": strongest[:N_CLOSEST],
        "variance_explained_by_others": dict(zip(columns, variance_explained(frame).tolist(), strict=True)),
        "matrix": matrix.loc[shown, shown].to_dict(),
    }
