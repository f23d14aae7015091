"""Loaders that ask the data set for a batch at once, at the speed of indexing a tensor."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from canopy.data.dataset import Batch, TensorRows


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
        self._rank, self._n_ranks = rank, n_ranks
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
        if self.shuffle:
            # One seed of two numbers, so that no two pairs share their orders.
            seeds = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)
            generator = torch.Generator().manual_seed(int(seeds[0] >> np.uint64(1)))
            order = torch.randperm(self.n_rows, generator=generator)
        else:
            order = torch.arange(self.n_rows)
        # Drawn on the processor, so that every device sees the same order; copied once for all batches.
        order = order.to(device=self._device)
        _, first = self.first_batch()
        for index in range(first, self._n_batches):
            last = index == self._n_batches - 1
            stop = self.n_rows if last else (index + 1) * self._step
            yield order[index * self._step + self._rank : stop : self._n_ranks]


class Loader(DataLoader[Batch]):
    """A DataLoader over `BatchIndices` that knows its position, so that a killed epoch can be resumed.

    `options` are those of `BatchIndices`. The rows are in memory: 0 workers are the fastest.
    """

    sampler: BatchIndices

    def __init__(
        self, rows: TensorRows, *, n_workers: int = 0, pin_memory: bool = False, **options: Any
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
        if self.num_workers or self.pin_memory:
            batches: Iterator[Batch] = super().__iter__()
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
