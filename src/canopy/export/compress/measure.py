"""Measure variants of a model, choose the one to serve, and plot what they cost."""

import statistics
import timeit
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from canopy.cores import usable_cores
from canopy.export.manifest import OUTPUT
from canopy.export.scorer import BATCH_SIZE, batches, open_session, run_batches
from canopy.prepare.preprocessor import Inputs

# Of each kind of call, by its number of rows, in each of the rounds in which all graphs take turns.
N_CALLS = {1: 200, BATCH_SIZE: 10}
N_ROUNDS = 10

MARKERS = ("o", "s", "^", "D", "v", "P")


def predict(path: Path, rows: Inputs) -> NDArray[np.float32]:
    """Give the probabilities of raw rows with all cores, shape (B, K)."""
    return run_batches(open_session(path, n_threads=0), rows)


def time_graphs(paths: Mapping[str, Path], rows: Inputs) -> dict[str, list[dict[str, float]]]:
    """Measure how fast graphs predict, in one thread and with one on each core: medians of the calls."""
    rows = rows.take(np.arange(BATCH_SIZE) % len(rows.numeric))
    speeds: dict[str, list[dict[str, float]]] = {name: [] for name in paths}
    for n_threads in sorted({1, usable_cores()}):
        sessions = {name: open_session(path, n_threads=n_threads) for name, path in paths.items()}
        seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
        # The first round warms up, and does not count.
        for number, name, (size, n_calls) in product(range(N_ROUNDS + 1), paths, N_CALLS.items()):
            (given,) = batches(sessions[name], rows.take(slice(size)))
            times = timeit.repeat(partial(sessions[name].run, [OUTPUT], given), number=1, repeat=n_calls)
            if number:
                seconds[name, size] += times
        for name, found in speeds.items():
            one, batch = (statistics.median(seconds[name, size]) for size in N_CALLS)
            found.append(
                {
                    "n_threads": n_threads,
                    "one_row_us": round(1e6 * one, 1),
                    "batch_ms": round(1e3 * batch, 3),
                    "rows_per_second": round(BATCH_SIZE / batch),
                }
            )
    return speeds


def choose(
    variants: Sequence[dict[str, Any]], *, max_accuracy_drop: float, max_nll_increase: float
) -> dict[str, Any]:
    """Choose the smallest variant that loses little on validation rows; of two equal ones the more accurate.

    The size decides, not the speed: it is the same on each machine and in each run. The first variant is the
    model itself, which is always within the budget.
    """
    whole, *others = variants
    fitting = [
        variant
        for variant in others
        if variant["val_accuracy"] >= whole["val_accuracy"] - max_accuracy_drop
        and variant["val_nll"] <= whole["val_nll"] + max_nll_increase
    ]
    return min([whole, *fitting], key=lambda variant: (variant["n_bytes"], -variant["val_accuracy"]))


def draw_variants(variants: Sequence[dict[str, Any]], *, chosen: dict[str, Any], budget: float) -> Figure:
    """Draw the test accuracy of each variant over its size and over its speed, and a ring around the chosen.

    The first is the model itself; `budget` is how much accuracy may be lost.
    """
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for variant, marker in zip(variants, MARKERS, strict=False):
        thousand_rows = variant["speeds"][0]["rows_per_second"] / 1e3
        for axes, x in ((left, variant["n_bytes"] / 1e3), (right, thousand_rows)):
            if variant is chosen:
                axes.plot(x, variant["accuracy"], "o", markersize=17, color="0.3", markerfacecolor="none")
            axes.plot(x, variant["accuracy"], marker, markersize=8, label=variant["name"])
    for axes in (left, right):
        axes.axhline(
            variants[0]["accuracy"] - budget, color="0.4", linewidth=1, linestyle="--", label="budget"
        )
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12, y=0.12)
    left.set(xlabel="size of the graph, kB", ylabel="test accuracy")
    right.set(xlabel="thousand rows per second, one thread")
    figure.legend(
        handles=left.get_legend_handles_labels()[0], loc="outside lower center", ncols=4, frameon=False
    )
    figure.suptitle(f"Smaller and faster models; served: {chosen['name']}")
    return figure
