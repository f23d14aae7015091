"""Checkpoints that are written atomically and execute nothing when they are loaded."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
import torch.distributed
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from canopy.places import require_file
from canopy.tensors import save_tensors
from canopy.training.processes import from_first, is_connected

# What a damaged file can raise: the archive's reader, the unpickler, torch.
DAMAGES = (BadZipFile, NotImplementedError, UnpicklingError, RuntimeError, EOFError, OSError, ValueError)

# In a best checkpoint of a run with `refit`: the weights that also learnt from the validation rows.
REFIT = "refit_state_dict"


class SafeCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint atomically and read it as data alone, whatever the caller asks for."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        save_tensors(checkpoint, path)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = "cpu",
        weights_only: bool | None = None,  # noqa: FBT001 - Lightning's signature
    ) -> dict[str, Any]:
        # Machines that share no file system have it on the first alone.
        is_first = not is_connected() or torch.distributed.get_rank() == 0
        found: dict[str, Any] = from_first(
            load_checkpoint(path, map_location=map_location) if is_first else None
        )
        return found


def load_checkpoint(path: str | Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """Load a checkpoint; one that is damaged, or holds objects that loading would execute, is refused."""
    require_file(path, name="The checkpoint ", hint="train first; baselines have none")
    try:
        # torch writes checksums but does not read them.
        with ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise BadZipFile(f"a wrong checksum of {damaged}")
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except DAMAGES as error:
        reason = str(error).strip().partition("\n")[0]
        text = f"{path} must be a whole checkpoint of tensors and plain values; got {reason}"
        raise ValueError(text) from error
    return checkpoint


def load_weights(path: str | Path, *, split: str | None = None) -> dict[str, Tensor]:
    """Load the weights of a best checkpoint, those of a refit unless they are to predict the split `val`."""
    checkpoint = load_checkpoint(path)
    weights: dict[str, Tensor] = checkpoint["state_dict"]
    return weights if split == "val" else checkpoint.get(REFIT, weights)
