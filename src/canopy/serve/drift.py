"""Whether the rows that a server sees are like those its model was trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from canopy.bundle.manifest import Manifest
from canopy.bundle.statistics import count_bins
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

    Several processes that serve one bundle count each in a file of its own, so that any can report on all.

    Args:
        manifest: The bundle's.
        folder: Where the processes keep their counts; None for a process by itself.
        process: Name of this process's file.
    """

    def __init__(self, manifest: Manifest, *, folder: Path | None = None, process: str = "one") -> None:
        training, categorical = manifest.training, manifest.preprocessor.categorical
        self._edges = [np.array(found["edges"]) for found in training.numeric.values()]
        self._bins: list[NDArray[np.int64]] = []
        self._n_classes = len(manifest.classes)
        self._parts: list[_Part] = []
        start = 0

        def add(name: str, kind: str, labels: list[str], expected: list[float]) -> None:
            nonlocal start
            counts = slice(start, start + len(expected))
            self._parts.append(_Part(name, kind, labels, np.array(expected), counts))
            start += len(expected)

        for name, found in training.numeric.items():
            # A time, in days since 1970.
            is_time = name.endswith(".time") and name not in manifest.table.columns
            labels = [
                *describe_bins(found["edges"], written=as_date if is_time else "{:g}".format),
                "missing",
            ]
            present = [share * (1 - found["missing"]) for share in found["shares"]]
            add(name, "numeric", labels, [*present, found["missing"]])
        for name, vocabulary in categorical.items():
            named = manifest.table.categorical[name].listed or {}
            shares = np.array([*training.categories[name].values(), 0.0])
            # The bin of each code; the last one is that of unseen categories.
            kept = np.sort(np.argsort(-shares[:-1], kind="stable")[:MAX_CATEGORIES])
            bins = np.full(len(shares), len(kept))
            bins[kept], bins[-1] = np.arange(len(kept)), len(kept) + (len(kept) < len(shares) - 1)
            self._bins.append(bins)
            labels = [named.get(value, value) for value in np.array(vocabulary.names)[kept].tolist()]
            labels += [*(["all others"] if bins[-1] > len(kept) else []), "unseen"]
            add(name, "categories", labels, np.bincount(bins, shares).tolist())
        target = manifest.table.target.column
        add(target, "predicted classes", [*training.classes], [*training.classes.values()])
        self._waiting: list[tuple[Inputs, NDArray[np.int64]]] = []
        self._n_waiting = 0
        self._folder = folder
        if folder is None:
            self._counts = np.zeros(start, dtype=np.int64)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._counts = np.memmap(folder / f"{process}.counts", np.int64, "w+", shape=(start,))

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
        found.append(np.bincount(predicted, minlength=self._n_classes))
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
        counts = self._all_counts()
        n_rows = int(counts[self._parts[-1].counts].sum())
        columns = []
        for part in self._parts:
            found, expected, labels = counts[part.counts] / max(n_rows, 1), part.expected, part.labels
            if part.kind != "predicted classes" and not found[-1] and not expected[-1]:
                found, expected, labels = found[:-1], expected[:-1], labels[:-1]
            index = stability_index(expected, found) if n_rows >= MIN_ROWS else None
            columns.append(
                {
                    "name": part.name,
                    "kind": part.kind,
                    "index": index,
                    "change": None if index is None else describe_change(index),
                    "bins": labels,
                    "expected": expected.tolist(),
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


def describe_bins(edges: Sequence[float], *, written: Callable[[float], str] = "{:g}".format) -> list[str]:
    """Name the bins between edges.

    Examples:
        >>> describe_bins([1.0, 2.5])
        ['up to 1', '1 to 2.5', 'above 2.5']
    """
    ends = [*map(written, edges)]
    inner = [f"{low} to {high}" for low, high in pairwise(ends)]
    return [f"up to {ends[0]}", *inner, f"above {ends[-1]}"] if ends else ["all"]


def as_date(days: float) -> str:
    """Write days since 1970 as a date."""
    return str(np.datetime64(int(days), "D"))


def describe_change(index: float) -> str:
    """Say what an index means."""
    if index < MODERATE:
        return "none"
    return "moderate" if index < LARGE else "large"
