"""Find rows that repeat an earlier one."""

from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from canopy.tables.convert import Bools

N_FILES = 32


class FirstRows:
    """Finds which rows of a table no earlier row equals, batch by batch.

    Of each row a hash of 64 bits is kept: of ten million rows, two that differ have the same one with a
    probability below 1 in 100,000.
    """

    def __init__(self) -> None:
        # Sorted parts, each longer than the one after it.
        self._seen: list[NDArray[np.uint64]] = []

    def __call__(self, rows: pa.RecordBatch) -> Bools:
        """Add rows; gives whether each is new, shape (n_rows,).

        Examples:
            >>> is_first = FirstRows()
            >>> is_first(pa.RecordBatch.from_pydict({"a": [0.0, None, -0.0], "b": ["x", None, "x"]}))
            array([ True,  True, False])
            >>> is_first(pa.RecordBatch.from_pydict({"a": [None, 1.0], "b": [None, "x"]}))
            array([False,  True])
        """
        hashes = _hash_rows(rows)
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        is_new = np.diff(hashes, prepend=~hashes[:1]) != 0
        for seen in self._seen:
            place = np.searchsorted(seen, hashes)
            is_new &= seen[np.minimum(place, len(seen) - 1)] != hashes
        added = hashes[is_new]
        while self._seen and len(self._seen[-1]) <= len(added):
            added = np.concatenate([self._seen.pop(), added])
            # Of sorted parts, which the stable sort only merges.
            added.sort(kind="stable")
        if len(added):
            self._seen.append(added)
        in_order = np.empty(len(order), bool)
        in_order[order] = is_new
        return in_order


class RowCounter(ExitStack):
    """Counts rows that repeat an earlier one. Its hashes lie in temporary files, by their last bits."""

    def __enter__(self) -> Self:
        self._n_rows = 0
        self._files = [self.enter_context(file) for file in map(TemporaryFile, ["w+b"] * N_FILES)]
        return self

    def update(self, rows: pa.RecordBatch) -> None:
        self._n_rows += rows.num_rows
        hashes = _hash_rows(rows)
        files = hashes % np.uint64(N_FILES)
        for index, file in enumerate(self._files):
            hashes[files == index].tofile(file)

    def n_repeated(self) -> int:
        n_distinct = 0
        for file in self._files:
            file.seek(0)
            n_distinct += len(np.unique(np.fromfile(file, np.uint64)))
        return self._n_rows - n_distinct


def _hash_rows(rows: pa.RecordBatch) -> NDArray[np.uint64]:
    hashes = np.zeros(rows.num_rows, np.uint64)
    for values in rows.columns:
        hashes ^= hash_values(values)
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(32)
    return hashes


def hash_values(values: pa.Array) -> NDArray[np.uint64]:
    """Give the same integer for the same text, number or time, hardly ever for two; in one process only."""
    if pa.types.is_string(values.type):
        encoded = values.dictionary_encode()
        # Each text is hashed once; the last one is null.
        hashes = np.array([*map(hash, encoded.dictionary.to_pylist()), hash(None)], np.int64).view(np.uint64)
        found: NDArray[np.uint64] = hashes[encoded.indices.fill_null(len(hashes) - 1).to_numpy()]
        return found
    if pa.types.is_floating(values.type):
        # 0 and -0 are equal, and of NaN there is one.
        numbers = values.to_numpy(zero_copy_only=False) + 0.0
        return np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)
    times = values.cast(pa.int64()).fill_null(np.iinfo(np.int64).min)
    return np.asarray(times.to_numpy()).view(np.uint64)
