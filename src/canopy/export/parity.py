"""Prove that a bundle predicts what its run predicts, on the rows that the run is tested on."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from canopy.prepare.preprocessor import Inputs

log = logging.getLogger(__name__)

# How far a probability of the bundle may be from the run's, and how close two classes may be for their
# order not to count.
TOLERANCE = 1e-5

# A score on another device may differ by a few rows.
SCORE_TOLERANCE = 1e-4


def check_same_scores(
    log_probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    reported: Mapping[str, float],
    *,
    path: Path,
) -> None:
    """Refuse scores of another model, or another temperature.

    Args:
        log_probabilities: What the run predicts with the temperature, shape (n_rows, K).
        labels: Index of each row's class, shape (n_rows,).
        reported: The scores on these rows: `accuracy`, `calibrated.nll`, and the recall of each class.
        path: Their file.

    Raises:
        ValueError: If one of them is another.
    """
    right = log_probabilities.argmax(axis=1) == labels
    # Of a rare class, one row is more than the tolerance.
    found = [
        (right.mean(), SCORE_TOLERANCE),
        (-log_probabilities[np.arange(len(labels)), labels].mean(), SCORE_TOLERANCE),
    ]
    for index in range(len(reported) - len(found)):
        rows = right[labels == index]
        found.append((rows.sum() / max(len(rows), 1), SCORE_TOLERANCE + 1 / max(len(rows), 1)))
    for (name, score), (own, tolerance) in zip(reported.items(), found, strict=True):
        if not abs(own - score) <= tolerance:
            raise ValueError(
                f"{path} must hold the scores of this run, whose {name} on the test rows is {own:.6f}; "
                f"got {score:.6f}: evaluate the run again"
            )


def predict_pt2(path: Path, rows: Inputs, *, batch_size: int) -> NDArray[np.float32]:
    """Predict rows with the file in torch's format."""
    module = torch.export.load(path).module()
    starts = range(0, len(rows.numeric), batch_size)
    batches = (rows.take(slice(start, start + batch_size)) for start in starts)
    with torch.inference_mode():
        return torch.cat([module(*map(torch.from_numpy, batch)) for batch in batches]).numpy()


def compare(expected: NDArray[np.float64], found: NDArray[np.float32], *, name: str) -> float:
    """Refuse predictions that differ from the run's.

    Args:
        expected: Probabilities that the run gives, shape (n_rows, K).
        found: Probabilities that a file of the bundle gives, shape (n_rows, K).
        name: The file.

    Returns:
        The largest difference.

    Raises:
        ValueError: If a probability differs by more than `TOLERANCE`, or another class is the likeliest where
            the two likeliest differ by more than that.
    """
    difference = np.abs(expected - found)
    worst = float(difference.max())
    if not worst <= TOLERANCE:
        row = int(np.nan_to_num(difference, nan=np.inf).max(axis=1).argmax())
        raise ValueError(
            f"{name} must give the probabilities of the run within {TOLERANCE:g}; got a difference of "
            f"{worst:.2g} in test row {row}: nothing was exported"
        )
    first_two = np.sort(expected, axis=1)[:, -2:]
    clear = first_two[:, 1] - first_two[:, 0] > TOLERANCE
    n_wrong = int((expected.argmax(axis=1) != found.argmax(axis=1))[clear].sum())
    if n_wrong:
        raise ValueError(
            f"{name} must give the classes of the run; got {n_wrong} test rows with another: nothing was "
            "exported"
        )
    n_rows = f"{len(expected):,}"
    log.info("%s: the run's probabilities on all %s test rows, within %.1g", name, n_rows, worst)
    return worst
