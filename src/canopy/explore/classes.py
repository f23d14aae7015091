"""Count the classes, over all rows and within each category."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from canopy.explore.information import discrete_information
from canopy.explore.wording import significant
from canopy.schema.columns import Categorical, Target

# Of a column with more categories than that, so many are listed.
N_LISTED, N_MOST_FREQUENT = 40, 20
# Rows from which on a category is not rare.
RARE = 10

Counts = NDArray[np.int64]


def describe_target(target: Target, classes: dict[str, str], counts: Counts) -> dict[str, Any]:
    """Count the rows of each class.

    Args:
        target: The column.
        classes: Value to name of each class.
        counts: Rows of each class, shape (n_classes,).

    Returns:
        Count and share of each class, the ratio of the largest to the smallest class that has rows,
        the classes that are rarer than the target allows, and the entropy of the classes in nat.
    """
    shares = counts / counts.sum()
    present = counts[counts > 0]
    return {
        "column": target.column,
        "meaning": target.meaning,
        "classes": {
            name: {"value": value, "n_rows": int(n_rows), "share": significant(n_rows / counts.sum())}
            for (value, name), n_rows in zip(classes.items(), counts, strict=True)
        },
        "rare": [
            name for name, n_rows in zip(classes.values(), counts, strict=True) if n_rows < target.min_count
        ],
        "min_count": target.min_count,
        "largest_to_smallest": significant(present.max() / present.min()),
        "entropy_nat": significant(-(shares[shares > 0] * np.log(shares[shares > 0])).sum()),
    }


def class_shares(counts: Counts, class_names: list[str]) -> dict[str, float]:
    """Give the share of each class that has rows.

    Examples:
        >>> class_shares(np.array([1, 0, 3]), ["a", "b", "c"])
        {'a': 0.25, 'c': 0.75}
    """
    shares = zip(class_names, counts / max(counts.sum(), 1), strict=True)
    return {name: significant(share, digits=4) for name, share in shares if share > 0}


def describe_categories(
    column: Categorical, values: list[str | None], counts: Counts, class_names: list[str]
) -> dict[str, Any]:
    """Give the frequency of each category of a column and the classes found in it.

    Args:
        column: The column.
        values: Its values, the most frequent first; None for missing ones.
        counts: Rows of each value and class, shape (n_values, n_classes).
        class_names: Names of the classes.

    Returns:
        The most frequent categories by value, those that `column` lists and no row has at the end; what
        the others have together; what rows without a value have; and how many values are not listed.
    """
    total = counts.sum(axis=0)
    present = [index for index, value in enumerate(values) if value is not None]
    is_short = column.one_hot is not None or len(present) <= N_LISTED
    n_listed = len(present) if is_short else N_MOST_FREQUENT
    listed = column.listed or {}
    found = {str(values[index]): counts[index] for index in present[:n_listed]}
    found |= {value: np.zeros_like(total) for value in listed if value not in values}
    others = counts[present[n_listed:]]
    missing = counts[[index for index, value in enumerate(values) if value is None]]

    def describe(of_category: Counts) -> dict[str, Any]:
        n_rows = int(of_category.sum())
        return {
            "n_rows": n_rows,
            "share": significant(n_rows / total.sum()),
            "class_shares": class_shares(of_category, class_names),
            "information_nat": significant(
                discrete_information(np.stack([total - of_category, of_category])), digits=4
            ),
        }

    return {
        "meaning": column.meaning,
        "is_one_hot": column.one_hot is not None,
        "n_values": len(present),
        "n_rare": int((counts[present].sum(axis=1) < RARE).sum()),
        "n_unlisted": sum(values[index] not in listed for index in present) if listed else 0,
        "categories": {
            value: {"name": listed.get(value, value), **describe(of_category)}
            for value, of_category in found.items()
        },
        "others": {"n_values": len(others), **describe(others.sum(axis=0))} if len(others) else None,
        "missing": describe(missing[0]) if len(missing) else None,
    }
