"""Compute all findings about a table, as plain data that JSON can hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from canopy.explore.classes import describe_categories, describe_target
from canopy.explore.columns import describe_columns, find_constant, summarize_numeric
from canopy.explore.correlation import correlation_ratio, cramers_v, describe_correlation
from canopy.explore.dates import describe_dates
from canopy.explore.information import (
    LITTLE_INFORMATION,
    N_ROWS_PER_CATEGORY,
    crosstab,
    discrete_information,
    equal_groups,
    is_uninformative,
    numeric_information,
    sparse_information,
)
from canopy.explore.profile import Profile
from canopy.explore.suggestions import suggest
from canopy.explore.wording import significant
from canopy.tables.duplicates import hash_values

# Most columns of a matrix.
N_MATRIX = 40
ROUNDING_ERROR = 1e-9


@dataclass(frozen=True, kw_only=True)
class Limits:
    """From which figures on something is worth a remark: the section `explore` of `params.yaml`.

    Attributes:
        nearly_constant_share: Share of rows with one value from which on a column is nearly constant.
        high_correlation: Absolute Pearson correlation from which on two columns are highly correlated.
        n_mutual_information_rows: Most rows drawn for the mutual information of numeric columns.

    Raises:
        ValueError: If one is out of its range.
    """

    nearly_constant_share: float
    high_correlation: float
    n_mutual_information_rows: int

    def __post_init__(self) -> None:
        for name in ("nearly_constant_share", "high_correlation"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise ValueError(f"explore.{name} must be above 0 and at most 1; got {value}")
        if (n_rows := self.n_mutual_information_rows) < 1:
            raise ValueError(f"explore.n_mutual_information_rows must be at least 1; got {n_rows}")


def compute_findings(profile: Profile, limits: Limits, *, seed: int) -> dict[str, Any]:
    """Compute all findings.

    Args:
        profile: What a pass over the table collected.
        limits: From which figures on something is worth a remark.
        seed: Seed of the rows that mutual information is estimated from.

    Returns:
        Sections by name: dictionaries, lists, texts and numbers only.
    """
    schema = profile.schema
    columns = describe_columns(profile)
    _, counts = profile.by_class(schema.target.column)
    target = describe_target(schema.target, profile.classes, counts.sum(axis=0))
    class_names = [*profile.classes.values()]
    by_class = {name: profile.by_class(name) for name in schema.categorical}
    categories = {
        name: describe_categories(column, *by_class[name], class_names)
        for name, column in schema.categorical.items()
    }
    datetimes = {
        name: describe_dates(profile, name) for name in schema.datetime if columns[name]["n_distinct"]
    }
    mutual = _measure_information(
        profile, by_class, datetimes, n_drawn=limits.n_mutual_information_rows, seed=seed
    )
    information = mutual["columns_nat"]
    numeric = [name for name in schema.numeric if columns[name]["n_distinct"]]
    correlation = describe_correlation(
        {name: profile.sample[name] for name in numeric},
        high_correlation=limits.high_correlation,
        shown=_most_informative(numeric, information),
    )
    association = _associate(profile, categories, information)
    findings = {
        "table": _describe_table(profile, columns),
        "suggestions": [],
        "target": target,
        "problems": _describe_problems(profile),
        "constancy": {
            "nearly_constant_share": limits.nearly_constant_share,
            **find_constant(columns, categories, profile.n_rows, limits.nearly_constant_share),
        },
        "mutual_information": mutual,
        "correlation": {"high_correlation": limits.high_correlation, **correlation},
        "association": association,
        "numeric": summarize_numeric(profile),
        "categories": categories,
        "datetimes": datetimes,
        "columns": columns,
    }
    findings["suggestions"] = suggest(findings)
    return findings


def _measure_information(
    profile: Profile,
    by_class: Mapping[str, tuple[list[Any], NDArray[np.int64]]],
    datetimes: Mapping[str, Any],
    *,
    n_drawn: int,
    seed: int,
) -> dict[str, Any]:
    """Measure the mutual information of each feature, the most informative first."""
    n_drawn = min(n_drawn, len(profile.codes))
    drawn = np.sort(np.random.default_rng(seed).choice(len(profile.codes), n_drawn, replace=False))
    information: dict[str, float] = {}
    uninformative = []
    for name in profile.schema.features:
        of_parts = 0.0
        if name in by_class:
            values, counts = by_class[name]
            has_many_rows = profile.n_rows >= N_ROWS_PER_CATEGORY * len(values)
            if profile.counts[name].is_complete and has_many_rows:
                information[name] = discrete_information(counts)
            else:
                information[name] = sparse_information(profile.sample[name], profile.codes, seed=seed)
        else:
            parts = datetimes[name]["parts"].values() if name in datetimes else ()
            of_parts = max([part["information_nat"] for part in parts], default=0.0)
            estimate = numeric_information(profile.sample[name][drawn], profile.codes[drawn], seed=seed)
            information[name] = max(estimate, of_parts)
            counts = crosstab(equal_groups(profile.sample[name]), profile.codes)
        if is_uninformative(counts) and of_parts < LITTLE_INFORMATION:
            uninformative.append(name)
    # An estimate may be above what there is.
    most = discrete_information(np.diag(np.bincount(profile.codes)))
    return {
        "n_sampled_rows": n_drawn,
        "columns_nat": {
            name: significant(min(nat, most), digits=4) if nat > ROUNDING_ERROR else 0
            for name, nat in sorted(information.items(), key=lambda item: -item[1])
        },
        "uninformative": uninformative,
    }


def _most_informative(names: list[str], information: Mapping[str, float]) -> list[str]:
    """Choose the columns of a matrix; they stay in their order."""
    chosen = {*[name for name in information if name in names][:N_MATRIX]}
    return [name for name in names if name in chosen]


def _describe_table(profile: Profile, columns: dict[str, dict[str, Any]]) -> dict[str, Any]:
    schema = profile.schema
    return {
        "title": schema.title,
        "about": schema.about,
        "n_rows": profile.n_rows,
        "n_unlabelled_rows": profile.n_unlabelled,
        "n_columns": len(columns),
        "n_features": len(schema.features),
        "n_numeric_columns": len(schema.numeric),
        "n_categorical_columns": len(schema.categorical),
        "n_datetime_columns": len(schema.datetime),
        "n_missing_values": profile.n_missing.total(),
        "n_duplicate_rows": profile.n_duplicates,
        "n_sampled_rows": len(profile.codes),
    }


def _describe_problems(profile: Profile) -> list[dict[str, Any]]:
    """List what is wrong with values, the first of each kind with their lines."""
    problems = profile.problems
    return [
        {
            "column": column,
            "requirement": requirement,
            "n_rows": n_rows,
            "examples": [
                {"file": found.file, "line": found.line, "value": found.value}
                for found in problems.shown
                if (found.column, found.requirement) == (column, requirement)
            ],
        }
        for (column, requirement), n_rows in problems.counts.items()
    ]


def _associate(
    profile: Profile, categories: dict[str, dict[str, Any]], information: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Measure categorical columns against numeric ones (eta squared) and one another (Cramér's V)."""
    shown = _most_informative([*categories], information)
    codes = {name: _category_codes(profile.sample[name], [*categories[name]["categories"]]) for name in shown}
    numeric = _most_informative([*profile.schema.numeric], information)
    found: dict[str, dict[str, float]] = {name: {} for name in shown}
    for place, name in enumerate(shown):
        for other in numeric:
            found[name][other] = correlation_ratio(profile.sample[other], codes[name])
        for other in shown[:place]:
            found[name][other] = found[other][name] = cramers_v(codes[name], codes[other])
    return {
        name: {other: significant(value, digits=4) for other, value in values.items()}
        for name, values in found.items()
    }


def _category_codes(hashes: NDArray[np.uint64], values: list[str]) -> NDArray[np.int64]:
    """Number the listed categories; all others share a code, and missing values one."""
    known = hash_values(pa.array([*values, None], pa.string()))
    order = np.argsort(known)
    places = np.minimum(np.searchsorted(known, hashes, sorter=order), len(known) - 1)
    codes = order[places]
    return np.where(known[codes] == hashes, codes, len(known)).astype(np.int64)
