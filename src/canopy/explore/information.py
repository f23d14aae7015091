"""Measure the information of each feature on the class: mutual information, in nat."""

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]

# With fewer rows per category, mutual information is overestimated.
N_ROWS_PER_CATEGORY = 100
N_SHUFFLES = 3


def crosstab(first: Codes, second: Codes, *, n_second: int | None = None) -> Codes:
    """Count the rows with each pair of codes.

    Examples:
        >>> crosstab(np.array([0, 2, 2]), np.array([1, 0, 1]))
        array([[0, 1],
               [0, 0],
               [1, 1]])
    """
    n_second = n_second or int(second.max(initial=0)) + 1
    n_first = int(first.max(initial=0)) + 1
    return np.bincount(first * n_second + second, minlength=n_first * n_second).reshape(-1, n_second)


def discrete_information(counts: Codes) -> float:
    """Compute the mutual information of a discrete feature and the class.

    Args:
        counts: Rows with each value and class, shape (n_values, n_classes).

    Returns:
        The information in nat, at least 0.

    Examples:
        >>> round(discrete_information(np.array([[5, 0], [0, 5]])), 4)
        0.6931
    """
    joint = counts / counts.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    found = joint > 0
    return max(float((joint[found] * np.log(joint[found] / independent[found])).sum()), 0.0)


def sparse_information(values: NDArray[np.uint64], codes: Codes, *, seed: int) -> float:
    """Estimate the mutual information of a column with many values: less what shuffled classes would have.

    Args:
        values: Value, or hash, of each row, shape (n_rows,).
        codes: Class of each row, from 0 on, shape (n_rows,).
        seed: Seed of the shuffles.
    """
    categories = np.unique(values, return_inverse=True)[1].astype(np.int64)
    generator = np.random.default_rng(seed)
    n_codes = int(codes.max()) + 1
    # The entropies of the categories and of the classes are the same after a shuffle.
    by_chance = [_entropy(categories * n_codes + generator.permutation(codes)) for _ in range(N_SHUFFLES)]
    return max(float(np.mean(by_chance)) - _entropy(categories * n_codes + codes), 0.0)


def _entropy(values: Codes) -> float:
    shares = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(shares * np.log(shares)).sum())


def numeric_information(values: NDArray[np.float64], codes: Codes, *, seed: int) -> float:
    """Estimate the mutual information of a numeric feature and the class.

    That a value is missing is a part of it. The estimate for the others is that of nearest neighbours (Ross,
    2014, PLoS ONE 9: e87357), as scikit-learn has it.

    Args:
        values: Shape (n_rows,); NaN where one is missing.
        codes: Class of each row, from 0 on, shape (n_rows,).
        seed: Seed of the noise that the estimate adds to break ties.

    Returns:
        The information in nat, at least 0; 0 for a constant column.
    """
    missing = np.isnan(values)
    information = discrete_information(crosstab(missing.astype(np.int64), codes))
    values, codes = values[~missing], codes[~missing]
    if not len(values) or np.ptp(values) == 0 or np.bincount(codes).max() < 2:
        return information
    from sklearn.feature_selection import mutual_info_classif

    of_present = mutual_info_classif(values[:, None], codes, discrete_features=False, random_state=seed)
    return information + float(of_present[0]) * len(values) / len(missing)
