"""Count the classes, over all rows and within each category of the one-hot groups."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from canopy.explore.rounding import significant
from canopy.table.columns import OneHotGroup
from canopy.table.spec import TableSpec


def class_codes(labels: pd.Series, spec: TableSpec) -> NDArray[np.int64]:
    """Number each row's class in the order of `spec.classes`.

    Args:
        labels: Values of the target, shape (n_rows,).
        spec: The classes.

    Returns:
        Codes from 0 on, shape (n_rows,).

    Raises:
        ValueError: If a value is no class of `spec`.
    """
    codes = pd.Index([*spec.classes]).get_indexer(pd.Index(labels))
    if (codes < 0).any():
        raise ValueError(
            f"{spec.target!r} must be one of {[*spec.classes]}; found {labels[codes < 0].iloc[0]}: "
            "correct table.target.classes or the table"
        )
    return np.asarray(codes, dtype=np.int64)


def describe_target(codes: NDArray[np.int64], spec: TableSpec, *, meaning: str) -> dict[str, Any]:
    """Count the rows of each class.

    Args:
        codes: Class of each row, from 0 on, shape (n_rows,).
        spec: The classes.
        meaning: What the target says, for people.

    Returns:
        Count and share of each class, the ratio of the largest to the smallest class that has rows,
        and the entropy of the classes in nat.
    """
    counts = np.bincount(codes, minlength=len(spec.classes))
    shares = counts / counts.sum()
    present = counts[counts > 0]
    classes = {
        name: {"value": value, "n_rows": int(n_rows), "share": significant(share)}
        for (value, name), n_rows, share in zip(spec.classes.items(), counts, shares, strict=True)
    }
    return {
        "column": spec.target,
        "meaning": meaning,
        "classes": classes,
        "largest_to_smallest": significant(present.max() / present.min()),
        "entropy_nat": significant(-(shares[shares > 0] * np.log(shares[shares > 0])).sum()),
    }


def group_codes(frame: pd.DataFrame, group: OneHotGroup) -> tuple[NDArray[np.int64], int]:
    """Turn a one-hot group back into one categorical column.

    Args:
        frame: Rows without missing values, shape (n_rows, n_columns).
        group: The group.

    Returns:
        Position of the column that each row sets, or the number of columns where a row does not set
        exactly one, shape (n_rows,); and how many rows do not.
    """
    n_set = np.zeros(len(frame), dtype=np.int64)
    codes = np.zeros(len(frame), dtype=np.int64)
    for code, name in enumerate(group.columns):
        is_set = frame[name].to_numpy() != 0
        n_set += is_set
        codes[is_set] = code
    codes[n_set != 1] = len(group.columns)
    return codes, int((n_set != 1).sum())


def count_classes(is_set: NDArray[np.bool_], codes: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Count the classes of the rows that set a 0/1 column, and of those that do not.

    Args:
        is_set: Whether each row sets the column, shape (n_rows,).
        codes: Class of each row, from 0 on, shape (n_rows,).
        n_classes: Number of classes.

    Returns:
        Counts of the rows with 0 and with 1, shape (2, n_classes).

    Examples:
        >>> count_classes(np.array([True, False, True]), np.array([0, 1, 1]), 2)
        array([[0, 1],
               [1, 1]])
    """
    cells = is_set.astype(np.int64) * n_classes + codes
    return np.bincount(cells, minlength=2 * n_classes).reshape(2, n_classes)


def describe_group(
    group: OneHotGroup, counts: dict[str, NDArray[np.int64]], spec: TableSpec, *, n_broken_rows: int
) -> dict[str, Any]:
    """Give the frequency of each category of a one-hot group and the classes found in it.

    Args:
        group: The group.
        counts: Column to class counts of its rows with 0 and with 1, shape (2, n_classes).
        spec: The classes.
        n_broken_rows: Number of rows that do not set exactly one column of the group.

    Returns:
        The group's meaning, the number of rows that break it and, by column, the category's name,
        number and share of rows and the share of each class among them (none where it has no rows).
    """
    categories = {}
    for column, name in group.columns.items():
        with_category = counts[column][1]
        n_rows = int(with_category.sum())
        shares = with_category / max(n_rows, 1)
        categories[column] = {
            "name": name,
            "n_rows": n_rows,
            "share": significant(n_rows / counts[column].sum()),
            "class_shares": {
                class_name: significant(share, digits=4)
                for class_name, share in zip(spec.classes.values(), shares, strict=True)
                if share > 0
            },
        }
    return {"meaning": group.meaning, "n_broken_rows": n_broken_rows, "categories": categories}
