"""Whether the rows that a server sees are like those its model was trained on."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from canopy.export.manifest import Manifest
from canopy.export.statistics import count_bins
from canopy.prepare.preprocessor import Inputs

# Below, an index means nothing: with so few rows chance alone gives as much.
MIN_ROWS = 200

# Rows that are counted at once: one by one, each would cost as much as its prediction.
MAX_WAITING = 512

# The usual reading of the population stability index: below 0.1 no change, from 0.25 on a large one.
MODERATE, LARGE = 0.1, 0.25

# Of a column; the rarer ones are counted together.
MAX_CATEGORIES = 50

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


class Part(NamedTuple):
    """One thing that is compared: its bins, and the share of each on the training rows."""

    name: str
    kind: str
    labels: list[str]
    expected: NDArray[np.float64]


class DriftMonitor:
    """Count the rows that were predicted, bin by bin, and compare the counts with the training rows.

    Several processes that serve one bundle count each in its own file, so that any can report on all.

    Args:
        manifest: The bundle's.
        folder: Where the processes keep their counts; None for a single process.
        process: Name of this process's file.
    """

    def __init__(self, manifest: Manifest, *, folder: Path | None = None, process: str = "one") -> None:
        training, table = manifest.training, manifest.table
        self._edges = [np.array(found["edges"]) for found in training.numeric.values()]
        self._bins: list[NDArray[np.int64]] = []
        self._parts: list[Part] = []
        for name, found in training.numeric.items():
            # A time, in days since 1970.
            is_time = name.endswith(".time") and name not in table.columns
            ends = [str(np.datetime64(int(edge), "D")) if is_time else f"{edge:g}" for edge in found["edges"]]
            present = np.array(found["shares"]) * (1 - found["missing"])
            expected = np.append(present, found["missing"])
            self._parts.append(Part(name, "numeric", [*describe_bins(ends), "missing"], expected))
        for name, vocabulary in manifest.preprocessor.categorical.items():
            named = table.categorical[name].listed or {}
            shares = np.array([*training.categories[name].values(), 0.0])
            # The bin of each code; the last one is that of unseen categories.
            kept = np.sort(np.argsort(-shares[:-1], kind="stable")[:MAX_CATEGORIES])
            n_rare = len(shares) - 1 - len(kept)
            bins = np.full(len(shares), len(kept))
            bins[kept], bins[-1] = np.arange(len(kept)), len(kept) + (n_rare > 0)
            self._bins.append(bins)
            values = [vocabulary.names[code] for code in kept]
            labels = [*(named.get(value, value) for value in values), *["all others"][:n_rare], "unseen"]
            self._parts.append(Part(name, "categories", labels, np.bincount(bins, shares).astype(float)))
        shares = np.array([*training.classes.values()])
        self._parts.append(Part(table.target.column, "predicted classes", [*training.classes], shares))
        # Where the counts of each part but the first start.
        *self._starts, n_counts = np.cumsum([len(part.expected) for part in self._parts]).tolist()
        self._waiting: list[tuple[Inputs, NDArray[np.int64]]] = []
        self._n_waiting = 0
        self._folder = folder
        if folder is None:
            self._counts = np.zeros(n_counts, dtype=np.int64)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._counts = np.memmap(folder / f"{process}.counts", np.int64, "w+", shape=(n_counts,))

    def add(self, rows: Inputs, predicted: NDArray[np.int64]) -> bool:
        """Take in some rows, which are counted together with others.

        Args:
            rows: What was predicted, B rows.
            predicted: Index of the class of each, shape (B,).

        Returns:
            Whether they are the first since `count`, which is to be called before long.
        """
        self._waiting.append((rows, predicted))
        self._n_waiting += len(predicted)
        if self._n_waiting >= MAX_WAITING:
            self.count()
        return len(self._waiting) == 1

    def count(self) -> None:
        """Count the rows that wait."""
        if not self._waiting:
            return
        numeric = np.concatenate([rows.numeric for rows, _ in self._waiting]).T
        categorical = np.concatenate([rows.categorical for rows, _ in self._waiting]).T
        predicted = np.concatenate([classes for _, classes in self._waiting])
        self._waiting, self._n_waiting = [], 0
        found: list[NDArray[np.int64]] = []
        for values, edges in zip(numeric, self._edges, strict=True):
            found += [count_bins(values, edges), np.isnan(values).sum(keepdims=True)]
        for codes, bins in zip(categorical, self._bins, strict=True):
            found.append(np.bincount(bins[codes], minlength=bins[-1] + 1))
        found.append(np.bincount(predicted, minlength=len(self._parts[-1].labels)))
        self._counts += np.concatenate(found)

    def report(self) -> dict[str, Any]:
        """Report on all rows so far, in all processes.

        Returns:
            `n_rows` (those of other processes up to the last fraction of a second), and for each column and
            the predicted classes (`columns`): its bins with their shares on the training rows and on these,
            the index and what it means; None while there are fewer than `MIN_ROWS`. Bins of missing values
            and unseen categories are left out where no row is in them.
        """
        self.count()
        total: NDArray[np.int64] = self._counts
        if self._folder is not None:
            total = np.sum([np.fromfile(path, np.int64) for path in self._folder.glob("*.counts")], axis=0)
        counts = np.split(total, self._starts)
        n_rows = int(counts[-1].sum())
        columns = []
        for (name, kind, labels, expected), count in zip(self._parts, counts, strict=True):
            found = count / max(n_rows, 1)
            if kind != "predicted classes" and not found[-1] and not expected[-1]:
                found, expected, labels = found[:-1], expected[:-1], labels[:-1]
            index = stability_index(expected, found) if n_rows >= MIN_ROWS else None
            columns.append(
                {
                    "name": name,
                    "kind": kind,
                    "index": index,
                    "change": None if index is None else describe_change(index),
                    "bins": labels,
                    "expected": expected.tolist(),
                    "found": found.tolist(),
                }
            )
        return {"n_rows": n_rows, "min_rows": MIN_ROWS, "columns": columns}


def describe_bins(ends: Sequence[str]) -> list[str]:
    """Name the bins between edges.

    Examples:
        >>> describe_bins(["1", "2.5"])
        ['up to 1', '1 to 2.5', 'above 2.5']
    """
    inner = [f"{low} to {high}" for low, high in pairwise(ends)]
    return [f"up to {ends[0]}", *inner, f"above {ends[-1]}"] if ends else ["all"]


def describe_change(index: float) -> str:
    """Say what an index means."""
    if index < MODERATE:
        return "none"
    return "moderate" if index < LARGE else "large"
