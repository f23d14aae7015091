"""Reductions over batches of rows, with memory that does not depend on their number."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Rows that quantiles are taken from; all of them where there are no more.
SAMPLE_ROWS = 500_000


@dataclass
class Moments:
    """Count, mean, spread and ends of a quantity, over batches (Chan, Golub and LeVeque, 1979)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def update(self, values: Floats) -> None:
        """Add values, missing ones (NaN) left out."""
        values = values[~np.isnan(values)]
        if not len(values):
            return
        mean = float(values.mean())
        squares = float(((values - mean) ** 2).sum())
        self._add(Moments(len(values), mean, squares, float(values.min()), float(values.max())))

    def merge(self, other: "Moments") -> None:
        """Add what other moments were taken of."""
        if not self.n:
            # Nothing is rounded.
            vars(self).update(vars(other))
        elif other.n:
            self._add(other)

    def _add(self, other: "Moments") -> None:
        n, delta = self.n + other.n, other.mean - self.mean
        self.squares += other.squares + delta**2 * self.n * other.n / n
        self.mean += delta * other.n / n
        self.n = n
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def deviation(self) -> float:
        return float(np.sqrt(self.squares / self.n))


@dataclass
class Sample:
    """`size` rows drawn evenly from all rows, whatever their batches: by a hash of their number.

    Rows are numbered from the first of their `part` of the table, which is the higher part of the number.
    """

    seed: int
    size: int = SAMPLE_ROWS
    part: int = 0
    n_rows: int = 0
    n_held: int = 0
    # Rows with greater hashes cannot be among those kept.
    greatest: int = np.iinfo(np.uint64).max
    # Written in place: arrays that come and go would leave holes in the memory. The hashes are one of them.
    buffers: dict[str | None, NDArray[Any]] = field(default_factory=dict)

    # Those of the rows that `draw` chose.
    hashes: NDArray[np.uint64] = field(init=False)

    def update(self, values: Mapping[str, NDArray[Any]], n_rows: int) -> None:
        drawn = self.draw(n_rows)
        self.add({name: found[drawn] for name, found in values.items()})

    def draw(self, n_rows: int) -> NDArray[np.int64]:
        """Choose those of the next rows that may be kept; `add` wants their values."""
        hashes = hash_numbers(row_numbers(self.part, self.n_rows, n_rows), self.seed)
        self.n_rows += n_rows
        drawn = np.flatnonzero(hashes <= self.greatest)
        self.hashes = hashes[drawn]
        return drawn

    def add(self, values: Mapping[str, NDArray[Any]]) -> None:
        capacity, start = self.size + self.size // 8 + 1, 0
        while n_added := min(len(self.hashes) - start, capacity - self.n_held):
            for name, found in ((None, self.hashes), *values.items()):
                if name not in self.buffers:
                    self.buffers[name] = np.empty(capacity, found.dtype)
                self.buffers[name][self.n_held : self.n_held + n_added] = found[start : start + n_added]
            self.n_held, start = self.n_held + n_added, start + n_added
            if self.n_held == capacity:
                self._reduce()

    def merge(self, other: "Sample") -> None:
        """Add the rows that a sample of another part has drawn."""
        if other.n_held:
            drawn = np.flatnonzero(other.column(None) <= self.greatest)
            self.hashes = other.column(None)[drawn]
            self.add({name: other.column(name)[drawn] for name in other.buffers if name is not None})

    def __getstate__(self) -> dict[str, Any]:
        # Without the room for further rows.
        return vars(self) | {"buffers": {name: self.column(name) for name in self.buffers}, "hashes": None}

    def _reduce(self) -> None:
        if self.n_held > self.size:
            hashes = self.buffers[None][: self.n_held]
            kept = np.sort(np.argpartition(hashes, self.size - 1)[: self.size])
            self.greatest, self.n_held = int(hashes[kept].max()), self.size
            for buffer in self.buffers.values():
                buffer[: self.size] = buffer[kept]

    def column(self, name: str | None) -> NDArray[Any]:
        """Give a column of the drawn rows, in their order; None names their hashes."""
        self._reduce()
        return self.buffers[name][: self.n_held]

    def values(self, name: str) -> Floats:
        """Give the values of a column that are not missing."""
        values: Floats = self.column(name)
        return values[~np.isnan(values)]


def row_numbers(part: int, start: int, n_rows: int) -> NDArray[np.uint64]:
    """Number rows of one part of a table, from its row `start`; no two rows have the same number."""
    first = (part << 40) + start
    return np.arange(first, first + n_rows, dtype=np.uint64)


def hash_numbers(numbers: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Mix row numbers to evenly spread ones (SplitMix64, Steele, Lea and Flood, 2014)."""
    with np.errstate(over="ignore"):
        mixed = (numbers + np.uint64(seed + 1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
