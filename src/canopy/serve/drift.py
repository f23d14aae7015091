"""Whether the rows that a server sees are like those its model was trained on."""

import asyncio
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from canopy.export.manifest import Manifest
from canopy.prepare.preprocessor import Inputs
from canopy.tasks.answers import Answers

# Below, an index means nothing: with so few rows chance alone gives as much.
MIN_ROWS = 200
# How long rows wait to be counted together: one by one, each would cost as much as its prediction.
WAITING_SECONDS = 0.25
# The usual reading of the population stability index.
CHANGES, LIMITS = ("none", "moderate", "large"), (0.1, 0.25)
# Of a column; the rarer ones are counted together.
MAX_CATEGORIES = 50
# A share of nothing has no logarithm.
FLOOR = 1e-4
PREDICTIONS = "predictions"


@dataclass
class ColumnDrift:
    """A column, or the predictions: bins, their shares on the training rows and since the start."""

    name: str
    kind: str
    index: float | None
    change: str | None
    bins: list[str]
    expected: list[float]
    found: list[float]


@dataclass
class DriftReport:
    """All rows so far; there is no index while they are fewer than `min_rows`."""

    n_rows: int
    min_rows: int
    columns: list[ColumnDrift]


class Part(NamedTuple):
    """One thing that is compared: its bins, their shares on the training rows, the bin of each value."""

    name: str
    kind: str
    labels: list[str]
    expected: NDArray[np.float64]
    bins_of: Callable[[NDArray[Any]], NDArray[Any]]


class DriftMonitor:
    """Compare the rows that were predicted with the training rows, bin by bin.

    Each of several processes counts in its own file of a folder, so that any can report on all.
    """

    def __init__(self, manifest: Manifest, answers: Answers, *, folder: Path | None = None) -> None:
        training, table = manifest.training, manifest.table
        self._parts: list[Part] = []
        for name, found in training.numeric.items():
            # A time, in days since 1970.
            is_time = name.endswith(".time") and name not in table.columns
            ends = [str(np.datetime64(int(edge), "D")) if is_time else f"{edge:g}" for edge in found["edges"]]
            expected = np.append(np.array(found["shares"]) * (1 - found["missing"]), found["missing"])
            # One on an edge belongs to the bin below it; NaN is above the last edge, infinity.
            bins_of = np.append(found["edges"], np.inf).searchsorted
            labels = [f"{low} to {high}" for low, high in pairwise(["lowest", *ends, "highest"])]
            self._parts.append(Part(name, "numeric", [*labels, "missing"], expected, bins_of))
        for name, vocabulary in manifest.preprocessor.categorical.items():
            known = table.categorical[name].listed or {}
            names = [known.get(value, value) for value in vocabulary.names]
            self._parts.append(categorical_part(name, names, [*training.categories[name].values()]))
        shares = np.array(answers.shares)
        self._parts.append(Part(table.target.column, PREDICTIONS, answers.groups, shares, np.asarray))
        self._waiting: list[tuple[Inputs, NDArray[np.int64]]] = []
        # Where the counts of each part but the first start.
        *self._starts, n_counts = np.cumsum([len(part.labels) for part in self._parts]).tolist()
        self._counts, self._folder = np.zeros(n_counts, np.int64), folder
        if folder is not None:
            folder.mkdir(exist_ok=True)
            self._counts = np.memmap(folder / f"{os.getpid()}.counts", np.int64, "w+", shape=(n_counts,))

    def add(self, rows: Inputs, predicted: NDArray[np.int64]) -> None:
        """Take in rows and the group of each prediction; they are counted before long, for any process."""
        self._waiting.append((rows, predicted))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(WAITING_SECONDS, self.count)

    def count(self) -> None:
        if not self._waiting:
            return
        waiting = [(rows.numeric, rows.categorical, classes[:, None]) for rows, classes in self._waiting]
        self._waiting = []
        columns = [column for blocks in zip(*waiting, strict=True) for column in np.concatenate(blocks).T]
        parts = zip(self._parts, np.split(self._counts, self._starts), columns, strict=True)
        for part, counts, values in parts:
            counts += np.bincount(part.bins_of(values), minlength=len(counts))

    def report(self) -> DriftReport:
        """Report on all rows, without the bins of missing values and unseen categories that are empty."""
        self.count()
        total = self._counts
        if self._folder is not None:
            total = np.sum([np.fromfile(path, np.int64) for path in self._folder.glob("*.counts")], axis=0)
        counts = np.split(total, self._starts)
        n_rows = int(counts[-1].sum())
        columns = []
        for (name, kind, labels, expected, _), count in zip(self._parts, counts, strict=True):
            found = count / max(n_rows, 1)
            if kind != PREDICTIONS and not found[-1] and not expected[-1]:
                found, expected, labels = found[:-1], expected[:-1], labels[:-1]
            index = stability_index(expected, found) if n_rows >= MIN_ROWS else None
            change = None if index is None else CHANGES[bisect_right(LIMITS, index)]
            columns.append(ColumnDrift(name, kind, index, change, labels, expected.tolist(), found.tolist()))
        return DriftReport(n_rows, MIN_ROWS, columns)


def categorical_part(name: str, names: Sequence[str], training: Sequence[float]) -> Part:
    """Compare a column by its frequent categories; the last bin has the unseen ones."""
    shares = np.append(training, 0.0)
    kept = np.sort(np.argsort(-shares[:-1], kind="stable")[:MAX_CATEGORIES])
    n_rare = len(names) - len(kept)
    bins = np.full(len(shares), len(kept))
    bins[kept], bins[-1] = np.arange(len(kept)), len(kept) + (n_rare > 0)
    labels = [*(names[code] for code in kept), *["all others"][:n_rare], "unseen"]
    return Part(name, "categories", labels, np.bincount(bins, shares).astype(float), bins.__getitem__)


def stability_index(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Measure how far the shares of bins are from those that are expected.

    Source: the population stability index of credit scoring, the symmetric Kullback-Leibler divergence.
    """
    a, b = np.maximum(expected, FLOOR), np.maximum(found, FLOOR)
    return float(((b - a) * np.log(b / a)).sum())
