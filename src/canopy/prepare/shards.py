"""Bring encoded rows from the parts of a table to shards, in the order of the table or in a random one.

Rows of one part that belong to one shard are a piece: a file of records, each with the values of a row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from canopy.files import sha256
from canopy.prepare.reductions import hash_numbers
from canopy.tables.reader import BATCH_ROWS

Records = NDArray[np.void]


class Shard(NamedTuple):
    """A file of tensors that was written."""

    n_rows: int
    sha256: str


@dataclass(frozen=True)
class Layout:
    """How the rows of a split are divided among shards.

    Attributes:
        record: Type of a row: a field for each tensor.
        seed: Of a random order of the training rows.
        shuffle: Whether they are in that one; None: where they take several shards. Validation and test rows
            keep the order of the table: exports, explanations and keys find them there by it.
        n_rows: Of each split.
        shard_bytes: Of a shard, at most, if its rows are in the order of the table; about as many in another.
    """

    record: np.dtype[np.void]
    seed: int
    shuffle: bool | None
    n_rows: Mapping[str, int]
    shard_bytes: float

    def is_mixed(self, split: str) -> bool:
        shuffle = self.n_shards("train") > 1 if self.shuffle is None else self.shuffle
        return shuffle and split == "train"

    def record_of(self, split: str) -> np.dtype[np.void]:
        """Describe a row in a piece: with the key that orders it, if the rows are mixed."""
        return np.dtype([*self.record.descr, ("key", np.uint64)]) if self.is_mixed(split) else self.record

    def n_shards(self, split: str) -> int:
        rows = max(1, int(self.shard_bytes // self.record.itemsize))
        return max(1, -(-self.n_rows[split] // rows))

    def bounds(self, split: str) -> list[int]:
        """Give where each shard starts in the order of the table, and where the last one ends."""
        places = np.linspace(0, self.n_rows[split], self.n_shards(split) + 1).round()
        return [*map(int, places)]


class PieceWriter:
    """Appends rows of a part to its pieces, the files in `folder`.

    In the order of the table a part has one piece for a split, of which shards take their share.
    """

    def __init__(self, layout: Layout, folder: Path) -> None:
        self._layout, self._folder = layout, folder

    def write(self, split: str, rows: NDArray[np.uint64], values: Mapping[str, Any]) -> None:
        """Append rows, given by their numbers (`row_numbers`)."""
        layout = self._layout
        records = np.empty(len(rows), layout.record_of(split))
        for name, found in values.items():
            records[name] = found
        if not layout.is_mixed(split):
            self._append(split, 0, records)
            return
        records["key"] = keys = hash_numbers(rows, layout.seed)
        # Equal ranges of the keys.
        shards = ((keys >> np.uint64(32)) * np.uint64(layout.n_shards(split))) >> np.uint64(32)
        order = np.argsort(shards, kind="stable")
        ends = np.cumsum(np.bincount(shards.astype(np.int64), minlength=layout.n_shards(split)))
        for shard, found in enumerate(np.split(records[order], ends[:-1])):
            self._append(split, shard, found)

    def _append(self, split: str, shard: int, records: Records) -> None:
        if len(records):
            with (self._folder / piece_name(split, shard)).open("ab") as file:
                # Unlike `tofile`, it says what the system does where the disk is full.
                file.write(records.tobytes())


def piece_name(split: str, shard: int) -> str:
    return f"{split}-{shard:05d}"


def read_shard(layout: Layout, split: str, shard: int, folders: Sequence[Path]) -> Iterator[Records]:
    """Read the rows of a shard, batch by batch, from the pieces in the folders of all parts."""
    piece = piece_name(split, shard if layout.is_mixed(split) else 0)
    files = [folder / piece for folder in folders if (folder / piece).is_file()]
    record = layout.record_of(split)
    if layout.is_mixed(split):
        found = [np.fromfile(file, record) for file in files]
        records = np.concatenate([np.empty(0, record), *found])
        order = np.argsort(records["key"], kind="stable")
        for start in range(0, len(order), BATCH_ROWS):
            yield records[order[start : start + BATCH_ROWS]]
        return
    low, high = layout.bounds(split)[shard : shard + 2]
    sizes = [file.stat().st_size // record.itemsize for file in files]
    for file, size, end in zip(files, sizes, accumulate(sizes), strict=True):
        start = max(0, low - (end - size))
        stop = min(size, high - (end - size))
        for first in range(start, stop, BATCH_ROWS):
            n = min(BATCH_ROWS, stop - first)
            yield np.fromfile(file, record, n, offset=first * record.itemsize)


def write_shard(layout: Layout, folders: Sequence[Path], item: tuple[str, int, Path]) -> Shard:
    """Write one shard of a split to a file, from the pieces in the folders of all parts."""
    # Here, since it imports torch, which encoding does without.
    from canopy.tensors import open_tensors

    split, shard, output = item
    names = layout.record.names or ()
    if layout.is_mixed(split):
        size = layout.record_of(split).itemsize
        files = (folder / piece_name(split, shard) for folder in folders)
        n_rows = sum(file.stat().st_size // size for file in files if file.is_file())
    else:
        low, high = layout.bounds(split)[shard : shard + 2]
        n_rows = high - low
    shapes = {name: (n_rows, *layout.record[name].shape) for name in names}
    with open_tensors(output, shapes, {name: layout.record[name].base for name in names}) as write:
        for records in read_shard(layout, split, shard, folders):
            write({name: records[name] for name in names})
    return Shard(n_rows, sha256(output))
