"""Rows that stay in their shards: windows of a few shards each are read into memory, one after the other."""

import math
from collections.abc import Iterable, Iterator
from mmap import MAP_PRIVATE, mmap
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from canopy.data.dataset import Batch, Shard

# Rows that are copied at once.
N_ROWS = 65_536
# Bytes that the place of a row in its window takes while the window is read.
PLACE = 8


def seeded_order(n: int, *seeds: int) -> Tensor:
    """Permute the numbers below n; no two lists of as many seeds share their orders."""
    state = np.random.SeedSequence([*seeds]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
    return torch.randperm(n, generator=generator)


def n_own(n_rows: int, rank: int, n_ranks: int) -> int:
    """Count the rows of a rank among the first ones of an epoch, of which it has every `n_ranks`-th."""
    return -(-(n_rows - rank) // n_ranks)


class Window(NamedTuple):
    """Shards that are in memory together: the number of their first row in an epoch, and their rows' order.

    Without `seeds` the rows keep their order.
    """

    start: int
    shards: tuple[Shard, ...]
    seeds: tuple[int, ...]

    @property
    def stop(self) -> int:
        return self.start + sum(shard.n_rows for shard in self.shards)

    def read(self, rank: int, n_ranks: int) -> Batch:
        """Read the rows of a rank, in the order of the epoch; a shard is checked when it is read first."""
        n_rows, first = self.stop - self.start, n_own(self.start, rank, n_ranks)
        places = seeded_order(n_rows, *self.seeds) if self.seeds else torch.arange(n_rows)
        numbers, rows = places.add_(self.start).numpy(), None
        for shard in self.shards:
            shard.check()
            opened = shard.open()
            if rows is None:
                n = n_own(self.stop, rank, n_ranks) - first
                rows = Batch._make(allocate(n, tensor) for tensor in opened)
            for start in range(0, shard.n_rows, N_ROWS):
                part = slice(start, min(start + N_ROWS, shard.n_rows))
                own = np.flatnonzero(numbers[part] % n_ranks == rank) if n_ranks > 1 else slice(None)
                to = numbers[part][own] // n_ranks - first
                for target, source in zip(rows, opened, strict=True):
                    assert (source.dtype, source.shape[1:]) == (target.dtype, target.shape[1:])
                    if target[:1].numel():
                        as_items(target)[to] = as_items(source)[part][own]
            numbers = numbers[shard.n_rows :]
        assert rows is not None
        return rows


def allocate(n_rows: int, like: Tensor) -> Tensor:
    """Make a tensor of so many rows; its memory goes back to the system at once, which `malloc` may keep."""
    shape = (n_rows, *like.shape[1:])
    if not math.prod(shape):
        return like.new_empty(shape)
    memory = mmap(-1, math.prod(shape) * like.itemsize, flags=MAP_PRIVATE)
    return torch.frombuffer(memory, dtype=like.dtype).view(shape)


def as_items(tensor: Tensor) -> NDArray[np.void]:
    """View each row of a tensor as one item of its bytes, which NumPy copies several times as fast."""
    values = tensor.numpy()
    return values.view(f"V{values[:1].nbytes}").reshape(len(values))


class ShardRows(Dataset[Batch]):
    """The rows of a split, of which two windows are in memory: one in use, the next one being read.

    Args:
        shards: In the order of the rows.
        memory_mib: Most MiB that the rows of both windows may take, with 8 bytes for the place of each. In
            several processes each has its share of them.
        seed: Draws, with the number of the epoch, the order of the shards, of which as many as fit are a
            window, and that of the rows in each window. If None, the rows keep their order, and each window
            is one shard.
    """

    device = torch.device("cpu")

    def __init__(self, shards: Iterable[Shard], *, memory_mib: int, seed: int | None) -> None:
        self.shards, self.seed = [*shards], seed
        for shard in self.shards:
            shard.require()
        bytes_of_row = PLACE + sum(
            part.new_empty(1, *part.shape[1:]).nbytes for part in self.shards[0].open()
        )
        self._window_rows = memory_mib * 2**20 // (2 * bytes_of_row)
        largest = max(self.shards, key=lambda shard: shard.n_rows)
        if largest.n_rows > self._window_rows:
            needed = -(-2 * largest.n_rows * bytes_of_row // 2**20)
            raise ValueError(
                f"data.memory_mib must be at least {needed}, twice the largest shard, {largest.path}; got "
                f"{memory_mib}: raise it, or prepare with a smaller make_tensors.shard_mib"
            )

    def __len__(self) -> int:
        return sum(shard.n_rows for shard in self.shards)

    def windows(self, epoch: int) -> Iterator[Window]:
        """List the windows of an epoch; ranks have the same ones."""
        order, groups, room = range(len(self.shards)), list[list[Shard]](), -1
        for index in order if self.seed is None else seeded_order(len(order), self.seed, epoch).tolist():
            shard = self.shards[index]
            if self.seed is None or shard.n_rows > room:
                groups.append([])
                room = self._window_rows
            groups[-1].append(shard)
            room -= shard.n_rows
        start = 0
        for number, group in enumerate(groups, start=1):
            window = Window(start, tuple(group), () if self.seed is None else (self.seed, epoch, number))
            yield window
            start = window.stop
