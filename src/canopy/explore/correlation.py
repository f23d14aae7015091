"""Find what the features already say about one another."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canopy.explore.information import crosstab
from canopy.explore.profile import Codes
from canopy.explore.wording import significant
from canopy.prepare.reductions import Floats

TINY, SMALL = np.finfo(np.float64).tiny, 1e-9
# Added to the correlations' diagonal: columns that are exact functions of others get R² = 1, not a failure.
RIDGE = 1e-9
# Pairs to show even where none is highly correlated.
N_CLOSEST = 8


def correlation_matrix(columns: Sequence[Floats], *, fill: bool = False) -> Floats:
    """Compute Pearson's correlation of numeric columns, of each pair on the rows that have both.

    pandas takes ten times as long for it. With `fill`, missing values (NaN) are the mean instead, so that all
    pairs are on the same rows. With a column that is constant on these rows, the correlation is 0.
    """
    if not len(columns):
        return np.zeros((0, 0))
    values = np.column_stack(columns)
    values = (values - np.nanmean(values, axis=0)) / np.maximum(np.nanstd(values, axis=0), TINY)
    present = np.ones(values.shape) if fill else (~np.isnan(values)).astype(np.float64)
    values = np.nan_to_num(values)
    # Over the rows that have both x, the first of a pair, and y.
    n_rows = np.maximum(present.T @ present, 1)
    means = values.T @ present / n_rows
    variances = np.maximum((values**2).T @ present / n_rows - means**2, 0)
    spread = np.sqrt(variances * variances.T)
    covariance = values.T @ values / n_rows - means * means.T
    matrix: Floats = np.where(spread > SMALL, covariance / np.maximum(spread, SMALL), 0)
    np.fill_diagonal(matrix, 1)
    return matrix.clip(-1, 1)


def variance_explained(matrix: Floats) -> Floats:
    """Compute the share of each column's variance that a linear function of the others explains (R²).

    It is one minus the reciprocal of the diagonal of the inverse: the reciprocal of the variance
    inflation factor (Marquardt, 1970, Technometrics 12: 591-612).

    Examples:
        >>> variance_explained(np.array([[1.0, 0.6], [0.6, 1.0]])).round(4)
        array([0.36, 0.36])
    """
    inverse = np.linalg.inv(matrix + RIDGE * np.eye(len(matrix)))
    return np.clip(1 - 1 / np.diag(inverse), 0, 1)


def describe_correlation(
    columns: Mapping[str, Floats], *, high_correlation: float, shown: list[str]
) -> dict[str, Any]:
    """Give the correlations of the numeric columns and the pairs that are highly correlated.

    Args:
        columns: Values of each column, shape (n_rows,); NaN where one is missing.
        high_correlation: Absolute correlation from which on a pair is listed.
        shown: The columns of the matrix that is returned.

    Returns:
        The matrix by name, the highly correlated pairs and the closest ones at all (strongest first), and
        R² of each column given all others.
    """
    names, values = [*columns], [*columns.values()]
    matrix = correlation_matrix(values)
    # Correlations of pairs on different rows do not fit together, those of filled columns do.
    explained = variance_explained(correlation_matrix(values, fill=True))
    first, second = np.triu_indices(len(names), 1)
    strengths = np.abs(matrix[first, second])
    n_high = int((strengths >= high_correlation).sum())
    order = np.argsort(-strengths, kind="stable")[: max(n_high, N_CLOSEST)]
    strongest = [
        {"columns": [names[i], names[j]], "pearson": significant(matrix[i, j], digits=4)}
        for i, j in zip(first[order], second[order], strict=True)
    ]
    places = [names.index(name) for name in shown]
    return {
        "high_pairs": strongest[:n_high],
        "closest_pairs": strongest[:N_CLOSEST],
        "variance_explained_by_others": {
            name: significant(share, digits=4) for name, share in zip(names, explained, strict=True)
        },
        "matrix": {names[i]: {names[j]: significant(matrix[i, j], digits=4) for j in places} for i in places},
    }


def describe_association(
    numeric: Mapping[str, Floats], texts: Mapping[str, pa.Array], listed: Mapping[str, list[str]]
) -> dict[str, dict[str, float]]:
    """Measure categorical columns against numeric ones (eta squared) and one another (Cramér's V).

    Args:
        numeric: Values of each numeric column, shape (n_rows,); NaN where one is missing.
        texts: Values of each categorical column, shape (n_rows,).
        listed: Its categories; all others count as one, missing values as another.
    """
    codes = {}
    for name, categories in listed.items():
        found = pc.index_in(texts[name], pa.array([*categories, None], pa.string()))
        codes[name] = found.fill_null(len(categories) + 1).to_numpy().astype(np.int64)
    association = {
        name: {other: correlation_ratio(values, of_rows) for other, values in numeric.items()}
        for name, of_rows in codes.items()
    }
    for first, second in itertools.combinations(codes, 2):
        association[first][second] = association[second][first] = cramers_v(codes[first], codes[second])
    return {
        name: {other: significant(value, digits=4) for other, value in values.items()}
        for name, values in association.items()
    }


def correlation_ratio(values: Floats, codes: Codes) -> float:
    """Compute the share of a column's variance that lies between categories (eta squared).

    It is between 0 (the same mean in every category) and 1; 0 for a constant column.

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


def cramers_v(first: Codes, second: Codes) -> float:
    """Compute Cramér's V of two categorical columns, from 0 (independent) to 1.

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
