"""Measure graphs: what they predict right, and how fast they are."""

import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from canopy.cores import usable_cores
from canopy.export.compress.variants import Speed
from canopy.export.manifest import OUTPUT
from canopy.export.scorer import BATCH_SIZE, batches, open_session, run_batches
from canopy.prepare.preprocessor import Inputs

# Of each kind of call, spread over as many rounds, in which all graphs take turns.
N_CALLS = {1: 200, BATCH_SIZE: 10}
N_ROUNDS = 10


def predict(path: Path, rows: Inputs) -> NDArray[np.float32]:
    """Give the probabilities of raw rows with all cores, shape (B, K)."""
    return run_batches(open_session(path, n_threads=0), rows)


def row_difference(path: Path, rows: Inputs) -> float:
    """Give the largest difference of a probability between rows alone and together, `BATCH_SIZE` at most."""
    session = open_session(path, n_threads=1)
    alone = [run_batches(session, rows.take(slice(row, row + 1))) for row in range(len(rows.numeric))]
    return float(np.abs(run_batches(session, rows) - np.concatenate(alone)).max())


def time_graphs(paths: Mapping[str, Path], rows: Inputs) -> dict[str, list[Speed]]:
    """Measure how fast graphs predict, in one thread and with one on each core."""
    rows = rows.take(np.arange(BATCH_SIZE) % len(rows.numeric))
    speeds: dict[str, list[Speed]] = {name: [] for name in paths}
    for n_threads in sorted({1, usable_cores()}):
        sessions = {name: open_session(path, n_threads=n_threads) for name, path in paths.items()}
        seconds: dict[tuple[str, int], list[float]] = {}
        # The first round warms up, and does not count.
        for number in range(N_ROUNDS + 1):
            for name, session in sessions.items():
                for size, n_calls in N_CALLS.items():
                    (given,) = batches(session, rows.take(slice(size)))
                    times = []
                    for _ in range(n_calls):
                        started = time.perf_counter()
                        session.run([OUTPUT], given)
                        times.append(time.perf_counter() - started)
                    if number:
                        seconds.setdefault((name, size), []).extend(times)
        for name, found in speeds.items():
            one, batch = (statistics.median(seconds[name, size]) for size in (1, BATCH_SIZE))
            found.append(
                Speed(
                    n_threads=n_threads,
                    one_row_us=round(1e6 * one, 1),
                    batch_ms=round(1e3 * batch, 3),
                    rows_per_second=round(BATCH_SIZE / batch),
                )
            )
    return speeds
