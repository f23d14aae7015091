"""The rows of a split as tensors in memory, and the shards, files of tensors, that they are loaded from."""

import functools
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from canopy.files import SPLITS, sha256
from canopy.places import require_file
from canopy.schema.tensors import HINT, Schema, shard_name


class _Tensors(NamedTuple):
    # Shape (B, N), float32.
    numeric: Tensor
    # Codes, shape (B, C), of the smallest of uint8, int16 and int32 that holds all; the model makes int64.
    categorical: Tensor
    # Index of each row's class, shape (B,), int64.
    labels: Tensor
    # How much each row counts, shape (B,), float32; where rows have no weights, (B, 0).
    weights: Tensor


class Batch(_Tensors):
    """Some rows; weights may be left out."""

    __slots__ = ()

    def __new__(
        cls, numeric: Tensor, categorical: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> "Batch":
        if weights is None:
            weights = torch.empty(len(labels), 0, device=labels.device)
        return super().__new__(cls, numeric, categorical, labels, weights)

    @property
    def row_weights(self) -> Tensor | None:
        """The weights, shape (B,); None if rows have none."""
        return self.weights if self.weights.ndim == 1 else None


class TensorRows(Dataset[Batch]):
    """A data set that gives a whole batch for a tensor of row indices."""

    def __init__(self, rows: Batch) -> None:
        sizes = {name: len(tensor) for name, tensor in rows._asdict().items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"All tensors must have the same number of rows; found {sizes}")
        self.rows = rows

    @property
    def device(self) -> torch.device:
        return self.rows.labels.device

    @property
    def n_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.rows)

    def to(self, device: torch.device) -> "TensorRows":
        return self if device == self.device else TensorRows(Batch(*(part.to(device) for part in self.rows)))

    def __len__(self) -> int:
        return len(self.rows.labels)

    def __getitem__(self, indices: Tensor) -> Batch:
        return Batch._make([part.index_select(0, indices) for part in self.rows])


class Shard(NamedTuple):
    """A file with some rows of a split: where it is, how many rows it has, and its hash, by the schema."""

    path: Path
    n_rows: int
    sha256: str

    def require(self) -> None:
        """Refuse a shard that is not there."""
        require_file(self.path, name="The tensors ", hint=f"{HINT} first")

    def check(self) -> None:
        """Refuse a shard whose content is not that of the schema; it is read again only if it changed."""
        self.require()
        state = self.path.stat()
        _check(self, (state.st_mtime_ns, state.st_size))

    def open(self) -> Batch:
        """Map the rows into memory: processes that open it share them. Nothing in it can execute code."""
        try:
            rows = TensorRows(Batch(**torch.load(self.path, weights_only=True, mmap=True)))
        except (UnpicklingError, RuntimeError, TypeError, EOFError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"{self.path} must hold the tensors of a split and nothing else; got {reason}; "
                'run "make repro"'
            ) from error
        if len(rows) != self.n_rows:
            raise ValueError(
                f"{self.path} must have the {self.n_rows} rows of its schema; found {len(rows)}; "
                'run "make repro"'
            )
        return rows.rows


def list_shards(folder: str | Path, split: str, schema: Schema) -> tuple[Shard, ...]:
    """List the shards of a split in the order of its rows, as the schema of their folder describes them."""
    names = [shard_name(split, index) for index in range(len(schema.shards[split]))]
    sizes = zip(names, schema.shards[split], strict=True)
    return tuple(Shard(Path(folder).absolute() / name, n_rows, schema.sha256[name]) for name, n_rows in sizes)


def load_rows(folder: str | Path, split: str, schema: Schema) -> TensorRows:
    """Load all rows of a split from a folder, as its schema describes them.

    One shard is mapped into memory, several are copied there.
    """
    shards = list_shards(folder, split, schema)
    for shard in shards:
        shard.check()
    return _load_shards(shards)


@functools.cache
def _check(shard: Shard, _state: tuple[int, int]) -> None:
    if (found := sha256(shard.path)) != shard.sha256:
        raise ValueError(
            f"{shard.path} must have the SHA-256 {shard.sha256[:12]}... of its schema; found "
            f'{found[:12]}...: it is damaged or from another run of the pipeline; run "make repro"'
        )


@functools.lru_cache(maxsize=len(SPLITS))
def _load_shards(shards: tuple[Shard, ...]) -> TensorRows:
    """Load a split, once for all the runs that this process trains on it."""
    first, *others = (shard.open() for shard in shards)
    return TensorRows(Batch(*map(torch.cat, zip(first, *others, strict=True))) if others else first)
