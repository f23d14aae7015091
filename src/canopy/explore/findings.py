"""Compute all findings about a table, as plain data that JSON can hold."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from canopy.explore.classes import (
    class_codes,
    count_classes,
    describe_group,
    describe_target,
    group_codes,
)
from canopy.explore.columns import describe_columns, find_constant, summarize_numeric
from canopy.explore.correlation import correlation_ratio, cramers_v, describe_correlation
from canopy.explore.exploration import Exploration
from canopy.explore.information import discrete_information, numeric_information
from canopy.explore.rounding import significant
from canopy.explore.suggestions import suggest_drops

SECTIONS = (
    "table",
    "suggested_drops",
    "target",
    "constancy",
    "mutual_information",
    "correlation",
    "association",
    "numeric",
    "groups",
    "columns",
)


def compute_findings(frame: pd.DataFrame, exploration: Exploration) -> dict[str, Any]:
    """Compute all findings at once.

    Args:
        frame: The columns of the table, shape (n_rows, n_columns); a missing value is NaN.
        exploration: What to explore.

    Returns:
        The sections in the order of `SECTIONS`: dictionaries, lists, texts and numbers only.
    """
    found = dict(find(frame, exploration))
    return {section: found[section] for section in SECTIONS}


def find(frame: pd.DataFrame, exploration: Exploration) -> Iterator[tuple[str, Any]]:
    """Compute the findings one after the other, for a progress bar.

    Missing values are counted on all rows. Classes and categories are then counted on all rows that have
    them, numeric columns described by the values that they have; what compares numeric columns with
    anything is computed on the rows without a missing value.

    Args:
        frame: The columns of the table, shape (n_rows, n_columns); a missing value is NaN.
        exploration: What to explore.

    Yields:
        Name and content of each section in `SECTIONS`, in the order of the computation.

    Raises:
        ValueError: If no row is complete, or a setting is out of its range.
    """
    spec = exploration.spec
    names = [column.name for column in spec.numeric]

    columns = describe_columns(frame, spec)
    constant = find_constant(columns, nearly_constant_share=exploration.nearly_constant_share)
    yield "columns", _rounded(columns)
    yield "constancy", {"nearly_constant_share": exploration.nearly_constant_share, **constant}
    yield "table", _describe_table(frame, exploration, columns)

    complete = frame.dropna()
    if complete.empty:
        raise ValueError(
            "At least one row must have a value in every column; found none: leave out the columns "
            "that are empty in the section table of params.yaml"
        )
    frame = frame.dropna(subset=[name for name in spec.columns if name not in names])
    codes = class_codes(frame[spec.target], spec)
    yield "target", describe_target(codes, spec, meaning=exploration.target_meaning)
    yield "numeric", summarize_numeric(frame, names)

    counts = {
        name: count_classes(frame[name].to_numpy() != 0, codes, len(spec.classes))
        for group in spec.groups
        for name in group.columns
    }
    categories = {group.name: group_codes(frame, group) for group in spec.groups}
    yield (
        "groups",
        {
            group.name: describe_group(group, counts, spec, n_broken_rows=categories[group.name][1])
            for group in spec.groups
        },
    )

    values = complete[names].to_numpy(dtype=np.float64)
    complete_codes = class_codes(complete[spec.target], spec)
    complete_categories = {group.name: group_codes(complete, group)[0] for group in spec.groups}
    correlation = describe_correlation(names, values, high_correlation=exploration.high_correlation)
    yield "correlation", {"high_correlation": exploration.high_correlation, **correlation}
    yield (
        "association",
        _associate(names, values, complete_categories),
    )

    n_sampled = exploration.n_mutual_information_rows
    estimates = numeric_information(values, complete_codes, n_rows=n_sampled, seed=exploration.seed)
    information = dict(zip(names, estimates.tolist(), strict=True))
    information |= {name: discrete_information(table) for name, table in counts.items()}
    of_groups = {
        name: discrete_information(_crosstab(category, codes)) for name, (category, _) in categories.items()
    }
    yield (
        "mutual_information",
        {
            "n_sampled_rows": min(n_sampled, len(complete)),
            "groups_nat": _descending(of_groups),
            "columns_nat": _descending(information),
        },
    )
    yield (
        "suggested_drops",
        suggest_drops(
            target=spec.target,
            n_rows=len(frame),
            columns=columns,
            constant=constant,
            high_pairs=correlation["high_pairs"],
            information=information,
        ),
    )


def _describe_table(
    frame: pd.DataFrame, exploration: Exploration, columns: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    spec = exploration.spec
    return {
        "title": exploration.title,
        "about": exploration.about,
        "n_rows": len(frame),
        "n_columns": len(spec.columns),
        "n_features": len(spec.features),
        "n_numeric_columns": len(spec.numeric),
        "n_one_hot_columns": len(spec.features) - len(spec.numeric),
        "n_missing_values": sum(column["n_missing"] for column in columns.values()),
        "n_duplicate_rows": int(frame.duplicated().sum()),
    }


def _associate(
    names: list[str], values: NDArray[np.float64], categories: dict[str, NDArray[np.int64]]
) -> dict[str, dict[str, float]]:
    """Measure the groups against the numeric columns (eta squared) and one another (Cramér's V)."""
    return {
        group: {
            name: significant(ratio, digits=4)
            for name, ratio in zip(names, correlation_ratio(values, codes), strict=True)
        }
        | {
            other: significant(cramers_v(codes, other_codes), digits=4)
            for other, other_codes in categories.items()
            if other != group
        }
        for group, codes in categories.items()
    }


def _crosstab(category: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    n_categories, n_classes = int(category.max()) + 1, int(codes.max()) + 1
    cells = np.bincount(category * n_classes + codes, minlength=n_categories * n_classes)
    return cells.reshape(n_categories, n_classes)


def _descending(information: dict[str, float]) -> dict[str, float]:
    ordered = sorted(information.items(), key=lambda item: -item[1])
    return {name: significant(nat, digits=4) for name, nat in ordered}


def _rounded(columns: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            **column,
            "most_frequent_share": significant(column["most_frequent_share"], digits=8),
        }
        for name, column in columns.items()
    }
