"""Measure what each feature tells about the class: mutual information, in nat."""

import numpy as np
from numpy.typing import NDArray


def discrete_information(counts: NDArray[np.int64]) -> float:
    """Compute the mutual information of a discrete feature and the class, exactly.

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


def numeric_information(
    values: NDArray[np.float64], codes: NDArray[np.int64], *, n_rows: int, seed: int
) -> NDArray[np.float64]:
    """Estimate the mutual information of each numeric feature and the class from a sample of rows.

    The estimate is that of nearest neighbours (Ross, 2014, PLoS ONE 9: e87357), as scikit-learn has it.

    Args:
        values: Shape (n_all_rows, n_numeric).
        codes: Class of each row, from 0 on, shape (n_all_rows,).
        n_rows: Most rows to draw, at least 1.
        seed: Seed of the draw and of the noise that the estimate adds to break ties.

    Returns:
        The information in nat, at least 0, shape (n_numeric,); 0 for a constant column.

    Raises:
        ValueError: If `n_rows` is below 1.
    """
    if n_rows < 1:
        raise ValueError(f"explore.n_mutual_information_rows must be at least 1; found {n_rows}")
    varies = np.ptp(values, axis=0) > 0
    information = np.zeros(values.shape[1])
    if not varies.any():
        return information
    from sklearn.feature_selection import mutual_info_classif

    if n_rows < len(values):
        drawn = np.sort(np.random.default_rng(seed).choice(len(values), n_rows, replace=False))
        values, codes = values[drawn], codes[drawn]
    information[varies] = mutual_info_classif(
        values[:, varies], codes, discrete_features=False, random_state=seed
    )
    return information
