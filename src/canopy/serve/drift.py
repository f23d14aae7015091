"""Whether the rows that a server sees are like those its model was trained on."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from canopy.bundle.manifest import Manifest
from canopy.bundle.statistics import count_bins

# Below, an index means nothing: with so few rows chance alone gives as much.
MIN_ROWS = 200

# Rows that are counted at once: one by one, each would cost as much as its prediction.
MAX_WAITING = 512

# The usual reading of the population stability index: below 0.1 no change, from 0.25 on a large one.
MODERATE, LARGE = 0.1, 0.25

# A share of nothing has no logarithm.
FLOOR = 1e-4


def stability_index(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Measure how far shares are from those that are expected.

    Source: the population stability index of credit scoring, the symmetric Kullback-Leibler divergence.

    Args:
        expected: Share of each bin on the training rows, shape (n_bins,).
        found: The same on the rows that are compared.

    Examples:
        >>> stability_index(np.array([0.5, 0.5]), np.array([0.5, 0.5]))
        0.0
        >>> round(stability_index(np.array([0.5, 0.5]), np.array([0.9, 0.1])), 2)
        0.88
    """
    a, b = np.maximum(expected, FLOOR), np.maximum(found, FLOOR)
    return float(((b - a) * np.log(b / a)).sum())


@dataclass(frozen=True)
class _Part:
    """One thing that is compared: where its counts stand and what is expected of them."""

    name: str
    kind: str
    labels: list[str]
    expected: NDArray[np.float64]
    counts: slice


class DriftMonitor:
    """Count the rows that were predicted, bin by bin, and compare the counts with the training rows.

    Several processes that serve one bundle count each in a file of its own, so that any can tell of all.

    Args:
        manifest: The bundle's.
        folder: Where the processes keep their counts; None for a process by itself.
        process: Name of this process's file.
    """

    def __init__(self, manifest: Manifest, *, folder: Path | None = None, process: str = "one") -> None:
        table, training = manifest.table, manifest.training
        self._edges = [np.array(training.numeric[column.name]["edges"]) for column in table.numeric]
        self._n_numeric = len(self._edges)
        # The columns that a group tells of whether they have a value.
        self._gaps = [index for index, column in enumerate(table.numeric) if column.missing == "median"]
        self._parts: list[_Part] = []
        start = 0

        def add(name: str, kind: str, labels: list[str], expected: list[float]) -> None:
            nonlocal start
            counts = slice(start, start + len(expected))
            self._parts.append(_Part(name, kind, labels, np.array(expected), counts))
            start += len(expected)

        for column, edges in zip(table.numeric, self._edges, strict=True):
            add(column.name, "numeric", describe_bins(edges), training.numeric[column.name]["shares"])
        for group in table.groups:
            add(group.name, "categories", [*group.columns.values()], [*training.groups[group.name].values()])
        add(table.target, "predicted classes", [*training.classes], [*training.classes.values()])
        self._n_classes = len(training.classes)
        self._waiting: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []
        self._n_waiting = 0
        self._folder = folder
        if folder is None:
            self._counts = np.zeros(start, dtype=np.int64)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._counts = np.memmap(folder / f"{process}.counts", np.int64, "w+", shape=(start,))

    def add(self, rows: NDArray[np.float64], predicted: NDArray[np.int64]) -> bool:
        """Take in some rows, which are counted together with others.

        Args:
            rows: Checked raw rows, shape (B, F).
            predicted: Place of the class of each, shape (B,).

        Returns:
            Whether they are the first since `count`, which is to be called before long.
        """
        self._waiting.append((rows, predicted))
        self._n_waiting += len(rows)
        if self._n_waiting >= MAX_WAITING:
            self.count()
        return len(self._waiting) == 1

    def count(self) -> None:
        """Count the rows that wait."""
        if not self._waiting:
            return
        rows, predicted = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._n_waiting = [], 0
        counts = self._counts
        for index, edges in enumerate(self._edges):
            part = self._parts[index]
            counts[part.counts] += count_bins(rows[:, index], edges)
        first = self._parts[self._n_numeric].counts.start
        last = self._parts[-1].counts
        one_hot = rows[:, self._n_numeric :]
        if self._gaps:
            missing = np.isnan(rows[:, self._gaps])
            gaps = np.stack([~missing, missing], axis=2).reshape(len(rows), -1)
            one_hot = np.concatenate([one_hot, gaps], axis=1)
        counts[first : last.start] += one_hot.sum(axis=0).astype(np.int64)
        counts[last] += np.bincount(predicted, minlength=self._n_classes)

    def report(self) -> dict[str, Any]:
        """Tell of all rows so far, in all processes.

        Returns:
            `n_rows` (those of other processes up to the last fraction of a second), and for each column,
            group and the predicted classes (`columns`): its bins with their shares on the training rows and
            on these, the index and what it says; None while there are fewer than `MIN_ROWS`.
        """
        self.count()
        counts = self._all_counts()
        n_rows = int(counts[self._parts[-1].counts].sum())
        columns = []
        for part in self._parts:
            # Rows without a value are in no bin of a numeric column.
            found = counts[part.counts] / max(int(counts[part.counts].sum()), 1)
            index = stability_index(part.expected, found) if n_rows >= MIN_ROWS else None
            columns.append(
                {
                    "name": part.name,
                    "kind": part.kind,
                    "index": index,
                    "change": None if index is None else describe_change(index),
                    "bins": part.labels,
                    "expected": part.expected.tolist(),
                    "found": found.tolist(),
                }
            )
        return {"n_rows": n_rows, "min_rows": MIN_ROWS, "columns": columns}

    def _all_counts(self) -> NDArray[np.int64]:
        if self._folder is None:
            return self._counts
        files = [np.fromfile(path, np.int64) for path in sorted(self._folder.glob("*.counts"))]
        found: NDArray[np.int64] = np.sum(files, axis=0)
        return found


def describe_bins(edges: NDArray[np.float64]) -> list[str]:
    """Name the bins between edges.

    Examples:
        >>> describe_bins(np.array([1.0, 2.5]))
        ['up to 1', '1 to 2.5', 'above 2.5']
    """
    inner = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"up to {edges[0]:g}", *inner, f"above {edges[-1]:g}"] if len(edges) else ["all"]


def describe_change(index: float) -> str:
    """Say what an index means."""
    if index < MODERATE:
        return "none"
    return "moderate" if index < LARGE else "large"
