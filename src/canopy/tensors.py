"""Write tensors to a file, whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
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
    with atomic_write(path) as temporary, telling_why(temporary):
        torch.save(content, temporary)


@contextmanager
def telling_why(path: Path) -> Iterator[None]:
    """Say why torch cannot write a file in a block; by itself it tells only that it cannot.

    Raises:
        OSError: What the file system answers to a write of our own.
    """
    try:
        yield
    except RuntimeError:
        with path.open("ab") as file:
            file.write(bytes(PROBE_BYTES))
        raise
