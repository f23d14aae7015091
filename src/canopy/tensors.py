"""Write tensors to a file, atomically."""

import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from canopy.files import atomic_write


def save_tensors(content: Any, path: str | Path) -> None:
    """Write tensors and plain values atomically, as `torch.save` does."""
    with atomic_write(path) as temporary, telling_why(temporary):
        torch.save(content, temporary)


@contextmanager
def telling_why(path: Path) -> Iterator[None]:
    """Raise the file system's own error where torch, which says only that it failed, cannot write a file."""
    try:
        yield
    except RuntimeError:
        with path.open("ab") as file:
            file.write(bytes(2**20))
        raise


@contextmanager
def open_tensors(
    path: str | Path, shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, Any]
) -> Iterator[Callable[[Mapping[str, NDArray[Any]]], None]]:
    """Open a file of tensors of these shapes and types; gives a function that appends rows to each of them.

    The file appears when the block ends.
    """
    with atomic_write(path) as temporary, telling_why(temporary):
        # Memory that is not touched takes no room; the file gets room for it.
        tensors = {name: torch.from_numpy(np.empty(shape, kinds[name])) for name, shape in shapes.items()}
        with torch.serialization.skip_data():
            torch.save(tensors, temporary)
        with temporary.open("r+b") as file:
            places = {name: _storage_offset(file, index) for index, name in enumerate(shapes)}

            def write(parts: Mapping[str, NDArray[Any]]) -> None:
                for name, values in parts.items():
                    file.seek(places[name])
                    places[name] += file.write(np.ascontiguousarray(values, kinds[name]).tobytes())

            yield write


def _storage_offset(file: BinaryIO, index: int) -> int:
    """Find where a storage starts in what `torch.save` wrote, by the order that it wrote them in.

    Source: the ZIP format's local file header, 30 bytes with the lengths of a name and an extra field.
    """
    with zipfile.ZipFile(file) as archive:
        root = archive.namelist()[0].partition("/")[0]
        start = archive.getinfo(f"{root}/data/{index}").header_offset
    file.seek(start + 26)
    n_name, n_extra = struct.unpack("<HH", file.read(4))
    return start + 30 + int(n_name) + int(n_extra)
