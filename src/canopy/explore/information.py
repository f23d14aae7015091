"""Measure what features say about the class (mutual information, in nat) and about one another."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import entr
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import mutual_info_score

from canopy.explore.profile import Codes, Profile, crosstab
from canopy.prepare.reductions import Floats

# In nat: a feature with less information on the class is of little use on its own.
LITTLE_INFORMATION = 0.001
N_GROUPS = 10
# Added to the correlations' diagonal: columns that are exact functions of others get R² = 1, not a failure.
RIDGE = 1e-9
# Pairs to show even where none is highly correlated.
N_CLOSEST = 8
# Rows times pairs of columns that a matrix is computed from, in seconds.
MOST_PRODUCTS = 500_000_000


def measure_information(
    profile: Profile, datetimes: Mapping[str, Any], *, n_drawn: int, seed: int
) -> dict[str, Any]:
    """Measure the information of each feature, and find those that are uninformative.

    That of numeric columns is estimated from `n_drawn` rows of the sample; that of a datetime column is at
    least the highest of its parts, as `describe_dates` describes them.
    """
    codes = profile.codes
    n_drawn = min(n_drawn, len(codes))
    drawn = np.sort(np.random.default_rng(seed).choice(len(codes), n_drawn, replace=False))
    information: dict[str, float] = {}
    uninformative = []
    for name in profile.schema.features:
        if name in profile.schema.categorical:
            counts = profile.category_counts(name)
            nat = information[name] = beyond_chance(counts)
        else:
            parts = datetimes[name]["parts"].values() if name in datetimes else ()
            of_parts = max((part["information_nat"] for part in parts), default=0.0)
            values = profile.numbers(name)
            information[name] = max(numeric_information(values[drawn], codes[drawn], seed=seed), of_parts)
            counts = crosstab(equal_groups(values), codes)
            nat = max(beyond_chance(counts), of_parts)
        # Of few rows nothing can be said.
        if max(nat, information_by_chance(counts)) < LITTLE_INFORMATION:
            uninformative.append(name)
    # An estimate may be above what there is.
    most = float(entr(np.bincount(codes) / len(codes)).sum())
    ranking = sorted(information, key=lambda name: -information[name])
    return {
        "n_sampled_rows": n_drawn,
        "columns_nat": {name: min(information[name], most) for name in ranking},
        "uninformative": uninformative,
    }


def discrete_information(counts: Codes) -> float:
    """Compute the mutual information of a discrete feature, with these rows of each value and class."""
    return float(mutual_info_score(None, None, contingency=counts))


def information_by_chance(counts: Codes) -> float:
    """Compute the mutual information to expect of an independent feature (Miller, 1955)."""
    n_values, n_classes = counts.any(axis=1).sum(), counts.any(axis=0).sum()
    return float((n_values - 1) * (n_classes - 1) / (2 * counts.sum()))


def beyond_chance(counts: Codes) -> float:
    return max(discrete_information(counts) - information_by_chance(counts), 0.0)


def numeric_information(values: Floats, codes: Codes, *, seed: int) -> float:
    """Estimate the mutual information by nearest neighbours; that a value is missing is a part of it."""
    present = ~np.isnan(values)
    information = discrete_information(crosstab(present.astype(np.int64), codes))
    values, codes = values[present], codes[present]
    if not len(values) or np.ptp(values) == 0 or np.bincount(codes).max() < 2:
        return information
    [estimate] = mutual_info_classif(values[:, None], codes, discrete_features=False, random_state=seed)
    return information + float(estimate) * len(values) / len(present)


def equal_groups(values: Floats) -> Codes:
    """Divide the rows into groups of ascending values, about equally large; missing values are one too."""
    present = ~np.isnan(values)
    if not present.any():
        return np.full(len(values), N_GROUPS)
    ends = np.unique(np.quantile(values[present], np.arange(1, N_GROUPS) / N_GROUPS))
    return np.where(present, np.searchsorted(ends, values, side="right"), N_GROUPS)


def variance_explained(frame: pd.DataFrame) -> Floats:
    """Compute the share of each column's variance that a linear function of the others explains (R²).

    One minus the reciprocal of the variance inflation factor (Marquardt, 1970, Technometrics 12: 591-612).
    Missing values are the mean: correlations of pairs on different rows would not fit together.
    """
    matrix = frame.fillna(frame.mean()).corr().fillna(0).to_numpy(copy=True)
    np.fill_diagonal(matrix, 1 + RIDGE)
    return np.clip(1 - 1 / np.diag(np.linalg.inv(matrix)), 0, 1)


def describe_correlation(columns: Mapping[str, Floats], *, high: float, shown: list[str]) -> dict[str, Any]:
    """Give Pearson's correlation of each pair, on the rows that have both values; 0 if one is constant.

    Pairs are strongest first, the matrix is that of the columns `shown`.
    """
    frame = pd.DataFrame(columns, copy=False)
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
