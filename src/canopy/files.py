"""Write files whole or not at all, and tell their content by hash."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` when the block ends without an error.

    A reader sees the old file or the complete new one, whenever the writer is stopped. Missing parent
    folders are made; after an error the temporary file is removed and `path` is as it was.

    Args:
        path: Where the file is to be.

    Yields:
        A path in the same folder (a rename across file systems would not be atomic), with the same
        suffix, for libraries that choose the format by it.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder) / "a.txt") as temporary:
        ...         _ = temporary.write_text("whole")
        ...     (Path(folder) / "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder that takes the place of `path` when the block ends without an error.

    Args:
        path: Where the folder is to be; what is there is replaced.

    Yields:
        An empty folder beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as temporary:
        folder = Path(temporary) / path.name
        folder.mkdir()
        yield folder
        if path.exists():
            path.rename(Path(temporary) / "replaced")
        folder.rename(path)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write a JSON file atomically; NaN and infinity, which JSON does not know, are refused."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path, *, way_out: str = 'run "make repro"') -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        way_out: What to do where it is not there or damaged, for messages.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not JSON.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} must exist; found no such file; {way_out} first")
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be a JSON file; found {error}; {way_out}") from error


def readable(path: str | Path) -> str:
    """Write a path as a person would type it: relative where it is below the working folder."""
    absolute = Path(path).absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)


def sha256(path: str | Path) -> str:
    """Hash a file's content.

    Returns:
        64 hexadecimal digits.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
