"""Measure graphs: what they get right, and how fast they are."""

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from canopy.cores import usable_cores
from canopy.export.compress.variants import Speed
from canopy.export.manifest import OUTPUT
from canopy.export.scorer import BATCH_SIZE, open_session, run_batches
from canopy.prepare.preprocessor import Inputs
from canopy.tasks.metrics import build_metrics
from canopy.tasks.scores import Scores

# Of each kind of call, spread over as many rounds, in which all graphs take turns.
N_CALLS = {1: 200, BATCH_SIZE: 10}
N_ROUNDS = 10


def predict(path: Path, rows: Inputs) -> NDArray[np.float32]:
    """Give the probabilities of raw rows with all cores, shape (B, K)."""
    return run_batches(open_session(path, n_threads=0), rows)


def row_difference(path: Path, rows: Inputs) -> float:
    """Compare what is said of rows one by one with what is said of them together.

    Args:
        path: An ONNX file.
        rows: Raw rows, at most `BATCH_SIZE`.

    Returns:
        The largest difference of a probability.
    """
    session = open_session(path, n_threads=1)
    together = run_batches(session, rows)
    alone = np.concatenate(
        [run_batches(session, rows.take(slice(row, row + 1))) for row in range(len(rows.numeric))]
    )
    return float(np.abs(together - alone).max())


def score(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], class_names: tuple[str, ...]
) -> Scores:
    """Score predictions as an evaluation does.

    Args:
        probabilities: Shape (n_rows, K).
        labels: Index of each row's class, shape (n_rows,).
        class_names: K names.
    """
    metrics = build_metrics(len(class_names))
    metrics.update(torch.from_numpy(probabilities).double(), torch.from_numpy(labels))
    return Scores.from_metrics(metrics.compute(), class_names)


def time_graphs(paths: Mapping[str, Path], rows: Inputs) -> dict[str, tuple[Speed, ...]]:
    """Measure how fast graphs answer, in one thread and with one on each core.

    Args:
        paths: An ONNX file by name.
        rows: Raw rows to predict, again and again if they are few.

    Returns:
        Speeds of each, by name.
    """
    threads = sorted({1, usable_cores()})
    rows = rows.take(np.arange(BATCH_SIZE) % len(rows.numeric))
    found = [_time_all(paths, rows, n_threads=n_threads) for n_threads in threads]
    return {name: tuple(speeds[name] for speeds in found) for name in paths}


def _time_all(paths: Mapping[str, Path], rows: Inputs, *, n_threads: int) -> dict[str, Speed]:
    sessions = {name: open_session(path, n_threads=n_threads) for name, path in paths.items()}
    found: dict[str, dict[int, list[float]]] = {name: {size: [] for size in N_CALLS} for name in paths}
    # The first round warms up, and does not count.
    for number in range(N_ROUNDS + 1):
        for name, session in sessions.items():
            for size, n_calls in N_CALLS.items():
                names = [item.name for item in session.get_inputs()]
                given = {name: getattr(rows.take(slice(size)), name) for name in names}
                times = [_time_call(session, given) for _ in range(n_calls)]
                found[name][size] += times if number else []
    return {name: _speed(seconds, n_threads=n_threads) for name, seconds in found.items()}


def _time_call(session: InferenceSession, given: Mapping[str, NDArray[Any]]) -> float:
    started = time.perf_counter()
    session.run([OUTPUT], given)
    return time.perf_counter() - started


def _speed(seconds: Mapping[int, list[float]], **options: Any) -> Speed:
    one, batch = (statistics.median(seconds[size]) for size in (1, BATCH_SIZE))
    return Speed(
        one_row_us=round(1e6 * one, 1),
        batch_ms=round(1e3 * batch, 3),
        rows_per_second=round(BATCH_SIZE / batch),
        **options,
    )
