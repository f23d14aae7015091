"""Loaders that ask the data set for a batch at once, at the speed of indexing a tensor."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from canopy.data.dataset import Batch, TensorRows
from canopy.data.windows import ShardRows, n_own, seeded_order


class BatchIndices(Sampler[Tensor]):
    """Row indices of one batch after the other; each row is in exactly one batch of one rank.

    The last batch may be smaller. With `shuffle`, each epoch has its own order, drawn from `seed` and the
    epoch. All ranks get as many batches. Indices are on the `device` of the rows.
    """

    def __init__(
        self,
        n_rows: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        n_ranks: int = 1,
        device: torch.device | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"The batch size must be at least 1; found {batch_size}")
        if n_rows < n_ranks:
            raise ValueError(f"There must be a row for each of {n_ranks} ranks; found {n_rows} rows")
        self.n_rows, self.shuffle, self.seed, self.epoch = n_rows, shuffle, seed, 0
        self._device = device
        # An epoch and the batch that it starts at: behind what was trained before a run was killed.
        self.start = (0, 0)
        self.rank, self.n_ranks = rank, n_ranks
        self._step = batch_size * n_ranks
        self._n_batches = -(-n_rows // self._step)
        # A rest with fewer rows than ranks joins the batch before it: a rank without rows could not train.
        if self._n_batches > 1 and n_rows % self._step and n_rows % self._step < n_ranks:
            self._n_batches -= 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that comes next; Lightning calls it."""
        self.epoch = epoch

    def first_batch(self) -> tuple[int, int]:
        """Give the epoch that comes next and the batch it starts at."""
        epoch, batch = self.start
        return self.epoch, batch if epoch == self.epoch else 0

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[Tensor]:
        order = (
            seeded_order(self.n_rows, self.seed, self.epoch) if self.shuffle else torch.arange(self.n_rows)
        )
        # Drawn on the processor, so that every device sees the same order; copied once for all batches.
        order = order.to(device=self._device)
        _, first = self.first_batch()
        for index in range(first, self._n_batches):
            start, stop = self.bounds(index)
            yield order[start + self.rank : stop : self.n_ranks]

    def bounds(self, batch: int) -> tuple[int, int]:
        """Give where a batch of all ranks together starts and ends in the order of an epoch."""
        is_last = batch == self._n_batches - 1
        return batch * self._step, self.n_rows if is_last else (batch + 1) * self._step


class Loader(DataLoader[Batch]):
    """A DataLoader over `BatchIndices` that knows its position, so that a killed epoch can be resumed.

    `options` are those of `BatchIndices`. Where the rows are in memory, 0 workers are the fastest. Those in
    shards come in their own order, and a thread reads them instead of workers.
    """

    sampler: BatchIndices

    def __init__(
        self, rows: TensorRows | ShardRows, *, n_workers: int = 0, pin_memory: bool = False, **options: Any
    ) -> None:
        # Without a batch size of its own the loader hands each item of the sampler, here a whole batch of
        # indices, to the data set. With its own generator it leaves the global random state alone.
        super().__init__(
            rows,
            sampler=BatchIndices(len(rows), device=rows.device, **options),
            batch_size=None,
            num_workers=n_workers,
            pin_memory=pin_memory,
            generator=torch.Generator(),
        )
        self._position = (0, 0)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        sampler = self.sampler
        if isinstance(self.dataset, ShardRows):
            batches = cut_windows(self.dataset, sampler)
            if self.pin_memory:
                batches = (Batch._make(part.pin_memory() for part in batch) for batch in batches)
        elif self.num_workers or self.pin_memory:
            batches = super().__iter__()
        else:
            # Torch's own way would add more than a quarter to the time of a batch of 1,024 rows.
            batches = map(self.dataset.__getitem__, sampler)
        # Workers fetch ahead: the position is that of the batch handed out, not of the one fetched.
        epoch, first = sampler.first_batch()
        for index, batch in enumerate(batches, start=first):
            self._position = (epoch, index)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Give the batch that was handed out last, with which `load_state_dict` lets the loader start."""
        epoch, batch = self._position
        return {"epoch": epoch, "batch": batch, "n_batches": len(self)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state.get("n_batches", len(self)) != len(self):
            raise ValueError(
                f"A resumed run must have {state['n_batches']} batches an epoch as before; got {len(self)}: "
                "resume it on as many devices as before"
            )
        self._position = self.sampler.start = (state["epoch"], state["batch"])


def cut_windows(rows: ShardRows, sampler: BatchIndices) -> Iterator[Batch]:
    """Give the batches of a rank from windows of shards; while one is in use, a thread reads the next one."""
    epoch, first = sampler.first_batch()
    rank, n_ranks = sampler.rank, sampler.n_ranks
    start, _ = sampler.bounds(first)
    # Those before a resume's first batch are not read.
    windows = [window for window in rows.windows(epoch) if window.stop > start]
    n_skipped = n_own(start, rank, n_ranks) - n_own(windows[0].start, rank, n_ranks)
    remaining = iter(windows)
    with ThreadPoolExecutor(1) as thread:
        pending: Future[Batch] | None = None
        left: tuple[Tensor, ...] = ()
        for index in range(first, len(sampler)):
            start, stop = sampler.bounds(index)
            n_missing = n_own(stop, rank, n_ranks) - n_own(start, rank, n_ranks)
            parts: list[tuple[Tensor, ...]] = []
            while n_missing:
                if not left:
                    pending = pending or thread.submit(next(remaining).read, rank, n_ranks)
                    left, pending, n_skipped = tuple(part[n_skipped:] for part in pending.result()), None, 0
                parts.append(tuple(part[:n_missing] for part in left))
                n_taken = len(parts[-1][0])
                n_missing -= n_taken
                left = tuple(part[n_taken:] for part in left) if n_taken < len(left[0]) else ()
            # A batch of one window alone is not copied.
            yield Batch._make(parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True)))
            # Not before: the window before, of which the caller may have held a batch, is gone by now.
            parts.clear()
            if pending is None and (window := next(remaining, None)) is not None:
                pending = thread.submit(window.read, rank, n_ranks)
