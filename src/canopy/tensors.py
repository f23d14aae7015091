"""Write tensors to a file, whole or not at all."""

from pathlib import Path
from typing import Any

import torch

from canopy.files import atomic_write

PROBE_BYTES = 2**20


def save_tensors(content: Any, path: str | Path) -> None:
    """Write tensors and plain values atomically, as `torch.save` does.

    Raises:
        OSError: If the file cannot be written; the message tells the way out.
    """
    with atomic_write(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError:
            # torch does not tell why it could not write; the file system does.
            with temporary.open("ab") as file:
                file.write(bytes(PROBE_BYTES))
            raise
