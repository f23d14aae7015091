"""Draw rows so that each class keeps its share."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]


def stratified_draw(rows: Rows, labels: NDArray[Any], *, size: float, seed: int) -> tuple[Rows, Rows]:
    """Draw a share of some rows, with the same share of each class.

    Row for row the draw of scikit-learn's `train_test_split`, by which published results are split; importing
    scikit-learn would take longer than the draw.

    Args:
        rows: Numbers of the rows to draw from, shape (n,).
        labels: Class of each row of the table, shape (n_rows,).
        size: The share, between 0 and 1.
        seed: Seed of the draw.

    Returns:
        The rows that are left and those that are drawn, both in random order.
    """
    random = np.random.RandomState(seed)
    classes = labels[rows]
    values, counts = np.unique(classes, return_counts=True)
    n_drawn = math.ceil(size * len(rows))
    n_left = len(rows) - n_drawn
    if min(n_drawn, n_left) < len(values):
        raise ValueError(
            f"Each part of a stratified split must have at least one row of each of {len(values)} classes; "
            f"got {n_left} and {n_drawn} rows: change split.test_size or split.val_size"
        )
    left_counts = _apportion(n_left, counts, random)
    drawn_counts = _apportion(n_drawn, counts - left_counts, random)
    left, drawn = [], []
    for value, n, m in zip(values, left_counts, drawn_counts, strict=True):
        found = rows[classes == value]
        random.shuffle(found)
        left.append(found[:n])
        drawn.append(found[n : n + m])
    parts = np.concatenate(left), np.concatenate(drawn)
    for part in parts:
        random.shuffle(part)
    return parts


def _apportion(n: int, counts: NDArray[np.int64], random: np.random.RandomState) -> NDArray[np.int64]:
    """Divide `n` draws among classes in proportion to their counts, by largest remainder, ties at random."""
    exact = counts / counts.sum() * n
    shares = np.floor(exact)
    remainders = exact - shares
    for value in np.unique(remainders)[::-1]:
        n_missing = int(n - shares.sum())
        if n_missing <= 0:
            break
        tied = np.flatnonzero(remainders == value)
        shares[random.choice(tied, size=min(len(tied), n_missing), replace=False)] += 1
    found: NDArray[np.int64] = shares.astype(np.int64)
    return found
