"""The LightningDataModule over the pipeline's tensors."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from lightning.fabric.utilities.warnings import PossibleUserWarning

from canopy.data.dataset import Batch, TensorRows, list_shards, load_rows
from canopy.data.loader import Loader
from canopy.data.windows import ShardRows
from canopy.schema.tensors import SCHEMA_FILE, Schema

log = logging.getLogger(__name__)


class TensorDataModule(LightningDataModule):
    """Load the splits that a run needs and build their loaders; test rows for testing alone.

    On an NVIDIA GPU the rows live on the GPU, unless worker processes load them or they are too large: their
    batches are then copied from pinned memory.

    Args:
        folder: Folder with the tensors and their `schema`.
        batch_size: Training rows of a step, on each device; `eval_batch_size` where no gradients are kept.
        shuffle: Whether each epoch has its own order of the training rows, drawn with `seed`.
        n_workers: Processes that load rows which are in memory.
        memory_mib: Most MiB of training rows that a process holds at once, as `ShardRows` counts them; None
            to hold all of them. Validation and test rows are then held by the shard.
        train_splits: Splits whose rows are trained on, and counted as such in `schema`.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        shuffle: bool = True,
        n_workers: int = 0,
        memory_mib: int | None = None,
        train_splits: Sequence[str] = ("train",),
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.schema = Schema.load(self.folder / SCHEMA_FILE)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.seed, self.shuffle, self.n_workers = seed, shuffle, n_workers
        self.memory_mib, self.train_splits = memory_mib, (*train_splits,)
        self.schema = replace(
            self.schema,
            class_counts=self._count(self.schema.class_counts),
            weight_sums=self.schema.weight_sums and self._count(self.schema.weight_sums),
        )
        self._rows: dict[str, TensorRows] = {}
        self._shards: dict[str, ShardRows] = {}
        if memory_mib is not None and n_workers:
            log.warning("data.n_workers=%d does nothing with data.memory_mib: a thread reads", n_workers)
        if n_workers < 2:
            # Lightning recommends workers on each machine with more than two cores; here they only copy rows.
            warnings.filterwarnings("ignore", ".* does not have many workers", PossibleUserWarning)

    def _count(self, counts: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        further = [counts[split] for split in self.train_splits if split != "train"]
        trained = {
            name: tuple(map(sum, zip(counts[name], *further, strict=True)))
            for name in ("train", "train_before_cap")
        }
        return {**counts, **trained}

    def setup(self, stage: str) -> None:
        splits = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ()}[stage]
        for split in splits:
            if self.memory_mib is None:
                self.rows(split)
            else:
                parts = (list_shards(self.folder, name, self.schema) for name in self._names(split))
                seed = self.seed if self.shuffle and split == "train" else None
                self._shards[split] = ShardRows(
                    chain.from_iterable(parts), memory_mib=self.memory_mib, seed=seed
                )

    def _names(self, split: str) -> tuple[str, ...]:
        return self.train_splits if split == "train" else (split,)

    def rows(self, split: str) -> Batch:
        """Give all rows of a split, in memory."""
        if split not in self._rows:
            parts = [load_rows(self.folder, name, self.schema).rows for name in self._names(split)]
            columns = zip(*parts, strict=True)
            self._rows[split] = TensorRows(Batch(*map(torch.cat, columns)) if len(parts) > 1 else parts[0])
        return self._rows[split].rows

    def train_dataloader(self) -> Loader:
        return self._loader("train")

    def val_dataloader(self) -> Loader:
        return self._loader("val")

    def test_dataloader(self) -> Loader:
        return self._loader("test")

    def state_dict(self) -> dict[str, Any]:
        assert self.trainer is not None
        return {"rows_per_step": self.batch_size * self.trainer.world_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the rows of a step, with which rate and schedule were chosen, on another number of devices."""
        assert self.trainer is not None
        rows, n_ranks = state_dict["rows_per_step"], self.trainer.world_size
        if rows % n_ranks:
            raise ValueError(
                f"A resumed run must keep its {rows} rows a step; got {n_ranks} devices, which cannot share "
                "them: set trainer.devices to a divisor of it"
            )
        if self.batch_size != rows // n_ranks:
            self.batch_size = rows // n_ranks
            sizes = (self.batch_size, n_ranks, rows)
            log.warning("data.batch_size=%d on each of %d devices keeps %d rows a step", *sizes)

    def _loader(self, split: str) -> Loader:
        trainer, is_train = self.trainer, split == "train"
        assert trainer is not None
        device = trainer.strategy.root_device
        rows = self._rows[split] if self.memory_mib is None else self._shards[split]
        if isinstance(rows, TensorRows) and not self.n_workers:
            rows = place_rows(rows, device)
        return Loader(
            rows,
            batch_size=self.batch_size if is_train else self.eval_batch_size,
            shuffle=self.shuffle and is_train and self.memory_mib is None,
            seed=self.seed,
            rank=trainer.global_rank,
            n_ranks=trainer.world_size,
            n_workers=self.n_workers if self.memory_mib is None else 0,
            pin_memory=device.type == "cuda" and rows.device.type == "cpu",
        )


def place_rows(rows: TensorRows, device: torch.device) -> TensorRows:
    """Put rows on an NVIDIA GPU, unless they would take more than half of its free memory."""
    if device.type != "cuda":
        return rows
    free, _ = torch.cuda.mem_get_info(device)
    if rows.n_bytes > free / 2:
        sizes = (rows.n_bytes >> 20, free >> 20)
        log.warning("The rows stay in main memory: they take %d MiB, and the GPU has %d MiB free", *sizes)
        return rows
    return rows.to(device)
