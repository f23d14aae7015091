"""Checkpoints that are whole or absent, and that execute nothing when they are loaded."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from canopy.places import require_file
from canopy.tensors import save_tensors

# What a damaged file can raise: the archive's reader, the unpickler, torch.
DAMAGES = (BadZipFile, NotImplementedError, UnpicklingError, RuntimeError, EOFError, OSError, ValueError)


# In a best checkpoint of a run with `refit`: the weights that also learnt from the validation rows.
REFIT = "refit_state_dict"


class SafeCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint atomically and read it as data alone, whatever the caller asks for."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        if storage_options is not None:
            raise TypeError(f"storage_options must be None; found {storage_options!r}")
        save_tensors(checkpoint, path)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = "cpu",
        weights_only: bool | None = None,  # noqa: FBT001 - Lightning's signature
    ) -> dict[str, Any]:
        return load_checkpoint(path, map_location=map_location)


def load_checkpoint(path: str | Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """Load a checkpoint; nothing in the file can execute code.

    Args:
        path: The file.
        map_location: Where its tensors go, as for `torch.load`.

    Returns:
        What was saved.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or holds objects that loading would have to execute.
    """
    require_file(path, name="The checkpoint ", hint="train first")
    try:
        _check_sums(path)
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except DAMAGES as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{path} must be a whole checkpoint of tensors and plain values; got {reason}"
        ) from error
    return checkpoint


def load_weights(path: str | Path, *, split: str | None = None) -> dict[str, Tensor]:
    """Load the weights of a best checkpoint.

    Args:
        path: The file.
        split: What they are to predict: `val` for the validation rows, whose scores must be of weights that
            have not learnt from them; anything else takes those of a refit where there are any.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged.
    """
    checkpoint = load_checkpoint(path)
    weights: dict[str, Tensor] = checkpoint["state_dict"]
    return weights if split == "val" else checkpoint.get(REFIT, weights)


def _check_sums(path: str | Path) -> None:
    """Check the sums of an archive's records, which torch writes and does not read."""
    with ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise BadZipFile(f"another content of {damaged} than was written")
