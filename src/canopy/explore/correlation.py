"""Find what the features already say about one another."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from canopy.explore.information import crosstab
from canopy.explore.wording import significant

TINY, SMALL = np.finfo(np.float64).tiny, 1e-9
# Added to the correlations' diagonal: columns that are exact functions of others get R² = 1, not a failure.
RIDGE = 1e-9
# Pairs to show even where none is highly correlated.
N_CLOSEST = 8


def correlation_matrix(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute Pearson's correlation of numeric columns, of each pair on the rows that have both.

    Args:
        values: Shape (n_rows, n_numeric); NaN where one is missing.

    Returns:
        Shape (n_numeric, n_numeric), 1 on the diagonal; 0 with a column that is constant on these rows.
    """
    weights = (~np.isnan(values)).astype(np.float64)
    n_present = np.maximum(weights.sum(axis=0), 1)
    centered = np.nan_to_num(values - np.nansum(values, axis=0) / n_present)
    scaled = centered / np.maximum(np.sqrt((centered**2).sum(axis=0) / n_present), TINY)
    # Means and variances of the first column of each pair on the rows that have both.
    n_rows = np.maximum(weights.T @ weights, 1)
    means = scaled.T @ weights / n_rows
    variances = np.maximum((scaled**2).T @ weights / n_rows - means**2, 0)
    spread = np.sqrt(variances * variances.T)
    covariance = scaled.T @ scaled / n_rows - means * means.T
    matrix: NDArray[np.float64] = np.where(spread > SMALL, covariance / np.maximum(spread, SMALL), 0)
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
    inverse = np.linalg.inv(matrix + RIDGE * np.eye(len(matrix)))
    return np.clip(1 - 1 / np.diag(inverse), 0, 1)


def describe_correlation(
    names: list[str], values: NDArray[np.float64], *, high_correlation: float, shown: list[str]
) -> dict[str, Any]:
    """Give the correlations of the numeric columns and the pairs that are highly correlated.

    Args:
        names: The columns.
        values: Their values, shape (n_rows, n_numeric); NaN where one is missing.
        high_correlation: Absolute correlation from which on a pair is listed.
        shown: The columns of the matrix that is returned.

    Returns:
        The matrix by name, the highly correlated pairs and the closest ones at all (strongest first), and
        R² of each column given all others.
    """
    matrix = filled_matrix = correlation_matrix(values)
    missing = np.isnan(values)
    if missing.any():
        # Correlations of pairs on different rows do not fit together, those of filled columns do.
        means = np.nansum(values, axis=0) / (~missing).sum(axis=0)
        filled_matrix = correlation_matrix(np.where(missing, means, values))
    pairs = [np.array(found) for found in np.triu_indices(len(names), 1)]
    strengths = np.abs(matrix[*pairs])
    order = np.argsort(-strengths, kind="stable")
    n_high = int((strengths >= high_correlation).sum())
    strongest = [
        {"columns": [names[i], names[j]], "pearson": significant(matrix[i, j], digits=4)}
        for i, j in zip(*(found[order[: max(n_high, N_CLOSEST)]] for found in pairs), strict=True)
    ]
    places = [names.index(name) for name in shown]
    return {
        "high_pairs": strongest[:n_high],
        "closest_pairs": strongest[:N_CLOSEST],
        "variance_explained_by_others": {
            name: significant(share, digits=4)
            for name, share in zip(names, variance_explained(filled_matrix), strict=True)
        },
        "matrix": {names[i]: {names[j]: significant(matrix[i, j], digits=4) for j in places} for i in places},
    }


def correlation_ratio(values: NDArray[np.float64], codes: NDArray[np.int64]) -> float:
    """Compute the share of a column's variance that lies between categories (eta squared).

    Args:
        values: Shape (n_rows,); NaN where one is missing.
        codes: Category of each row, from 0 on, shape (n_rows,).

    Returns:
        Between 0 (the same mean in every category) and 1; 0 for a constant column.

    Examples:
        >>> correlation_ratio(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
        1.0
    """
    present = ~np.isnan(values)
    values, codes = values[present], codes[present]
    if not len(values) or np.ptp(values) == 0:
        return 0.0
    centered = values - values.mean()
    counts = np.maximum(np.bincount(codes), 1)
    between = (np.bincount(codes, weights=centered) ** 2 / counts).sum()
    return float(min(between / (centered**2).sum(), 1))


def cramers_v(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Compute Cramér's V of two categorical columns, from 0 (independent) to 1.

    Args:
        first: Category of each row, from 0 on, shape (n_rows,).
        second: Likewise, shape (n_rows,).

    Examples:
        >>> cramers_v(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
        1.0
    """
    table = crosstab(first, second)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    if min(table.shape) < 2:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    chi_squared = ((table - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi_squared / table.sum() / (min(table.shape) - 1)))
