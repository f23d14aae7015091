"""Find what the features already say about one another."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from canopy.explore.rounding import significant

# Added to the correlations' diagonal: columns that are exact functions of others get R² = 1, not a failure.
RIDGE = 1e-9
# Pairs to show even where none is highly correlated.
N_CLOSEST = 8


def correlation_matrix(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute Pearson's correlation of numeric columns.

    Args:
        values: Shape (n_rows, n_numeric).

    Returns:
        Shape (n_numeric, n_numeric), 1 on the diagonal; 0 with a constant column, which varies with
        nothing.
    """
    centered = values - values.mean(axis=0)
    norms = np.linalg.norm(centered, axis=0)
    scaled = centered / np.where(norms > 0, norms, 1)
    matrix: NDArray[np.float64] = scaled.T @ scaled
    np.fill_diagonal(matrix, 1)
    return matrix.clip(-1, 1)


def variance_explained(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the share of each column's variance that a linear function of the others explains (R²).

    It is one minus the reciprocal of the diagonal of the inverse: the reciprocal of the variance
    inflation factor (Marquardt, 1970, Technometrics 12: 591-612).

    Args:
        matrix: Correlations, shape (n_numeric, n_numeric).

    Returns:
        Between 0 and 1, shape (n_numeric,).

    Examples:
        >>> variance_explained(np.array([[1.0, 0.6], [0.6, 1.0]])).round(4)
        array([0.36, 0.36])
    """
    if not len(matrix):
        return np.zeros(0)
    inverse = np.linalg.inv(matrix + RIDGE * np.eye(len(matrix)))
    return np.clip(1 - 1 / np.diag(inverse), 0, 1)


def describe_correlation(
    names: list[str], values: NDArray[np.float64], *, high_correlation: float
) -> dict[str, Any]:
    """Give the correlations of the numeric columns and the pairs that are highly correlated.

    Args:
        names: The columns.
        values: Their values, shape (n_rows, n_numeric).
        high_correlation: Absolute correlation from which on a pair is listed.

    Returns:
        The matrix by name, the highly correlated pairs and the closest ones at all (strongest first),
        and R² of each column given all others.

    Raises:
        ValueError: If `high_correlation` is not above 0 and at most 1.
    """
    if not 0 < high_correlation <= 1:
        raise ValueError(f"explore.high_correlation must be above 0 and at most 1; found {high_correlation}")
    matrix = correlation_matrix(values)
    pairs = sorted(
        ((matrix[i, j], names[i], names[j]) for i, j in combinations(range(len(names)), 2)),
        key=lambda pair: -abs(pair[0]),
    )
    listed = [
        {"columns": [first, second], "pearson": significant(pearson, digits=4)}
        for pearson, first, second in pairs
        if abs(pearson) >= high_correlation
    ]
    closest = [
        {"columns": [first, second], "pearson": significant(pearson, digits=4)}
        for pearson, first, second in pairs[:N_CLOSEST]
    ]
    rows = ([significant(value, digits=4) for value in row] for row in matrix)
    return {
        "high_pairs": listed,
        "closest_pairs": closest,
        "variance_explained_by_others": {
            name: significant(share, digits=4)
            for name, share in zip(names, variance_explained(matrix), strict=True)
        },
        "matrix": {name: dict(zip(names, row, strict=True)) for name, row in zip(names, rows, strict=True)},
    }


def correlation_ratio(values: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the share of each column's variance that lies between categories (eta squared).

    Args:
        values: Shape (n_rows, n_numeric).
        codes: Category of each row, from 0 on, shape (n_rows,).

    Returns:
        Between 0 (the same mean in every category) and 1, shape (n_numeric,); 0 for a constant column.

    Examples:
        >>> correlation_ratio(np.array([[1.0], [1.0], [3.0], [3.0]]), np.array([0, 0, 1, 1]))
        array([1.])
    """
    counts = np.bincount(codes)
    total = values.var(axis=0) * len(values)
    between = np.zeros(values.shape[1])
    for column in range(values.shape[1]):
        centered = values[:, column] - values[:, column].mean()
        sums = np.bincount(codes, weights=centered)
        between[column] = (sums[counts > 0] ** 2 / counts[counts > 0]).sum()
    return np.clip(between / np.where(total > 0, total, 1), 0, 1)


def cramers_v(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Compute Cramér's V of two categorical columns, from 0 (independent) to 1.

    Args:
        first: Category of each row, from 0 on, shape (n_rows,).
        second: Likewise, shape (n_rows,).

    Examples:
        >>> cramers_v(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
        1.0
    """
    n_second = int(second.max()) + 1
    counts = np.bincount(first * n_second + second, minlength=(int(first.max()) + 1) * n_second)
    table = counts.reshape(-1, n_second)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    if min(table.shape) < 2:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    chi_squared = ((table - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi_squared / table.sum() / (min(table.shape) - 1)))
