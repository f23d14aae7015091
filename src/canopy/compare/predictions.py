"""Scores and predictions of evaluated runs, and whether two runs' are those of the same rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from canopy.quoting import write_command
from canopy.runs.listed import ListedRun
from canopy.runs.run_folder import METRICS

PREDICTIONS = "evaluation/predictions_{split}.parquet"
_COLUMNS = ("label", "predicted")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What the evaluation of a run on one split left.

    Attributes:
        scores: Scores of the split, as in `metrics.json`.
        labels: Class of each row, shape (n_rows,).
        predicted: Class predicted for each row, shape (n_rows,).
    """

    scores: dict[str, Any]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]


def load_evaluation(run: ListedRun, *, split: str) -> Evaluation:
    """Read a run's scores and predictions.

    Raises:
        FileNotFoundError: If the run has not been evaluated on the split.
        ValueError: If a file of the run is damaged, or the predictions are not those of the scores.
    """
    path = run.path / PREDICTIONS.format(split=split)
    again = f'run "{write_command("evaluate", run=run.path)}"'
    scores = run.metrics.get(split)
    # The config is read here too, so that a comparison never leaves out what it cannot read.
    if not run.config or run.problems:
        raise ValueError(
            f"A run to compare must be complete; found {[*run.problems, f'no config in {run.path}'][0]}: "
            "restore the file or choose another run"
        )
    if scores is None or not path.is_file():
        missing = path if scores else f"{split} in {run.path / METRICS}"
        raise FileNotFoundError(
            f"A run to compare must be evaluated on its {split} rows; found no {missing}: {again} first"
        )
    try:
        # Not `read_table` and `to_numpy`, which import pandas.
        with pyarrow.parquet.ParquetFile(path) as file:
            table = file.read(columns=list(_COLUMNS))
        labels, predicted = (
            np.from_dlpack(table.column(name).combine_chunks()).astype(np.int64) for name in _COLUMNS
        )
        n_rows, accuracy, n_classes = scores["n_rows"], scores["accuracy"], len(scores["per_class"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} and {METRICS} must hold {', '.join(_COLUMNS)} and the scores; found {error}: {again}"
        ) from error
    found = float((labels == predicted).mean()) if len(labels) else 0.0
    # Both are computed from counts, so that any difference means other predictions.
    if len(labels) != n_rows or abs(found - accuracy) > 1e-6:
        raise ValueError(
            f"{path} must hold the predictions of {METRICS}, {n_rows} rows with accuracy "
            f"{accuracy:.6f}; found {len(labels)} rows with accuracy {found:.6f}: {again}"
        )
    if not all(((values >= 0) & (values < n_classes)).all() for values in (labels, predicted)):
        raise ValueError(f"{path} must hold indices of {n_classes} classes; found others: {again}")
    return Evaluation(scores=scores, labels=labels, predicted=predicted)


def check_same_rows(runs: tuple[ListedRun, ListedRun], found: tuple[Evaluation, Evaluation]) -> None:
    """Refuse to compare runs that were evaluated on other rows or other classes.

    Raises:
        ValueError: If they were.
    """
    a, b = found
    names = [", ".join(evaluation.scores["per_class"]) for evaluation in found]
    if names[0] != names[1]:
        difference = f"the classes {names[0]} and {names[1]}"
    elif len(a.labels) != len(b.labels):
        difference = f"{len(a.labels):,} and {len(b.labels):,} rows"
    elif not np.array_equal(a.labels, b.labels):
        difference = f"{(a.labels != b.labels).sum():,} of {len(a.labels):,} rows with another label"
    else:
        return
    raise ValueError(
        f"Two runs must be evaluated on the same rows to be compared; found {difference} in "
        f"{runs[0].path} and {runs[1].path}: train and evaluate both on one version of the data"
    )
