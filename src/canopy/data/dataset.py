"""The rows of one split as tensors in memory, saved to and loaded from one file."""

import functools
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from canopy.files import SPLITS, sha256
from canopy.places import require_file
from canopy.schema.tensors import HINT, Schema


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


def load_rows(folder: str | Path, split: str, schema: Schema) -> TensorRows:
    """Load the tensors of a split from a folder, as its schema describes them.

    Nothing in the file can execute code. It is mapped into memory: processes that load it share it.
    """
    path = Path(folder) / f"{split}.pt"
    require_file(path, name="The tensors ", hint=f"{HINT} first")
    state = path.stat()
    return _load_tensors(path.absolute(), schema.sha256[path.name], (state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=len(SPLITS))
def _load_tensors(path: Path, expected: str, _state: tuple[int, int]) -> TensorRows:
    """Check and load a file, once for all the runs that this process trains on it."""
    if (found := sha256(path)) != expected:
        raise ValueError(
            f"{path} must have the SHA-256 {expected[:12]}... of its schema; found "
            f'{found[:12]}...: it is damaged or from another run of the pipeline; run "make repro"'
        )
    try:
        return TensorRows(Batch(**torch.load(path, weights_only=True, mmap=True)))
    except (UnpicklingError, RuntimeError, TypeError, EOFError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f'{path} must hold the tensors of a split and nothing else; got {reason}; run "make repro"'
        ) from error
