"""Prove that a bundle says what its run says, on the rows that the run is tested on."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from canopy.data.dataset import Batch
from canopy.prepare.preprocessor import Encoded, Inputs

log = logging.getLogger(__name__)

# How far a probability of the bundle may be from the run's, and how close two classes may be for their
# order not to count.
TOLERANCE = 1e-5

# A score on another device may differ by a few rows.
SCORE_TOLERANCE = 1e-4


def check_same_rows(found: Encoded, labels: NDArray[np.int64], rows: Batch, *, split: str) -> None:
    """Refuse raw rows of a split that are not the ones in the tensors.

    Args:
        found: The raw rows, transformed.
        labels: Index of the class of each.
        rows: The tensors.
        split: Name of the split.

    Raises:
        ValueError: If a feature or the class of one differs.
    """
    arrays: tuple[NDArray[Any], ...] = (*found, labels)
    same = all(np.array_equal(one, other.numpy()) for one, other in zip(arrays, rows, strict=True))
    if not same:
        raise ValueError(
            f"The raw rows of the split {split}, transformed, must be those of its tensors; got "
            f"{len(labels):,} rows that differ from the {len(rows.labels):,} there: run "
            '"make repro", or restore the data of the run'
        )


def check_same_scores(
    log_probabilities: NDArray[np.float64], labels: NDArray[np.int64], metrics: dict[str, Any], *, path: Path
) -> None:
    """Refuse scores of another model, or another temperature.

    Args:
        log_probabilities: What the run says with the temperature, shape (n_rows, K).
        labels: Place of each row's class, shape (n_rows,).
        metrics: Scores that are said to be the run's.
        path: Their file.

    Raises:
        ValueError: If accuracy, likelihood or a class's recall on the test rows is another.
    """
    reported = metrics["test"]
    right = log_probabilities.argmax(axis=1) == labels
    nll = float(-log_probabilities[np.arange(len(labels)), labels].mean())
    pairs = [
        ("accuracy", float(right.mean()), reported["accuracy"], SCORE_TOLERANCE),
        ("calibrated.nll", nll, reported["calibrated"]["nll"], SCORE_TOLERANCE),
    ]
    for index, (name, scores) in enumerate(reported["per_class"].items()):
        rows = right[labels == index]
        # Of a rare class, one row is more than the tolerance.
        allowed = SCORE_TOLERANCE + 1 / max(len(rows), 1)
        pairs.append(
            (f"recall of {name}", float(rows.mean()) if len(rows) else 0.0, scores["recall"], allowed)
        )
    for name, found, said, allowed in pairs:
        if abs(found - said) > allowed:
            raise ValueError(
                f"{path} must hold the scores of this run, whose {name} on the test rows is {found:.6f}; "
                f"found {said:.6f}: evaluate the run again"
            )


def predict_pt2(path: Path, rows: Inputs, *, batch_size: int) -> NDArray[np.float32]:
    """Predict rows with the file in torch's format."""
    module = torch.export.load(path).module()
    numeric, categorical = (torch.from_numpy(array) for array in rows)
    with torch.inference_mode():
        parts = [
            module(numeric[start : start + batch_size], categorical[start : start + batch_size])
            for start in range(0, len(numeric), batch_size)
        ]
    return torch.cat(parts).numpy()


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
            f"{name} must give the probabilities of the run within {TOLERANCE:g}; found a difference of "
            f"{worst:.2g} in test row {row}: nothing was exported"
        )
    first_two = np.sort(expected, axis=1)[:, -2:]
    clear = first_two[:, 1] - first_two[:, 0] > TOLERANCE
    n_wrong = int((expected.argmax(axis=1) != found.argmax(axis=1))[clear].sum())
    if n_wrong:
        raise ValueError(
            f"{name} must give the classes of the run; found {n_wrong} test rows with another: nothing was "
            "exported"
        )
    log.info(
        "%s: the run's probabilities on all %s test rows, within %.1g", name, f"{len(expected):,}", worst
    )
    return worst
