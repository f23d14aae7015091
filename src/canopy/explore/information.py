"""Measure the information of each feature on the class: mutual information, in nat."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import entr, rel_entr
from sklearn.feature_selection import mutual_info_classif

from canopy.explore.profile import Codes, Profile, crosstab
from canopy.prepare.reductions import Floats

# In nat: a feature with less information on the class is of little use on its own.
LITTLE_INFORMATION = 0.001
N_GROUPS = 10


def measure_information(
    profile: Profile, datetimes: Mapping[str, Any], *, n_drawn: int, seed: int
) -> dict[str, Any]:
    """Measure the information of each feature, and find those that are uninformative.

    That of numeric columns is estimated from `n_drawn` rows of the sample; that of datetime columns is also
    the highest of their parts, as `describe_dates` describes them.
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
    """Compute the mutual information of a discrete feature, with these rows of each value and class.

    Examples:
        >>> round(discrete_information(np.array([[5, 0], [0, 5]])), 4)
        0.6931
    """
    joint = counts / counts.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    return max(float(rel_entr(joint, independent).sum()), 0.0)


def information_by_chance(counts: Codes) -> float:
    """Compute the mutual information to expect of an independent feature (Miller, 1955)."""
    n_values, n_classes = counts.any(axis=1).sum(), counts.any(axis=0).sum()
    return float((n_values - 1) * (n_classes - 1) / (2 * counts.sum()))


def beyond_chance(counts: Codes) -> float:
    """Compute the mutual information less that by chance."""
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
