"""Write files atomically, and hash their content."""

import ctypes
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from canopy.names import shorten
from canopy.places import check_writable, require_file

PARAMS = "params.yaml"  # marks the folder of a project, or of a data set
# Each has a folder of tensors; next to them lies what was learnt from the training rows.
SPLITS = ("train", "val", "test")
PREPROCESSOR_FILE = "preprocessor.json"
# What a person can do something about.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)  # of a rename to a place that is taken
UNABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # of a file system that cannot exchange two paths
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's renameat2


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` when the block ends without an error.

    A reader sees the old file or the complete new one, whenever the writer is stopped; of several writers
    the last one wins. Missing parent folders are made; after an error the temporary file is removed and
    `path` is as it was. The temporary path has the same suffix, for libraries that choose the format by it.
    """
    path = Path(path)
    check_writable(path, option="A file to write")
    with folder_beside(path) as folder:
        temporary = folder / path.name
        yield temporary
        _sync(temporary)
        temporary.replace(path)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `path` when the block ends, as `atomic_write` a file."""
    path = Path(path)
    with folder_beside(path) as temporary:
        folder = temporary / path.name
        folder.mkdir()
        yield folder
        for file in folder.rglob("*"):
            if file.is_file():
                _sync(file)
        swap_in(folder, path)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Give a folder next to `path`, to prepare there what is to be there.

    Who works in one holds its lock, which the system takes back from a process that is killed: what is left
    of one is removed by the next command that writes the same path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.????????.tmp"):
            with suppress(OSError), ExitStack() as stack:
                _lock(left, stack, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
        with ExitStack() as stack:
            yield _locked_folder(path, stack)
    except OSError as error:
        is_here = Path(str(error.filename or path)).absolute().is_relative_to(path.parent.absolute())
        if error.errno not in UNWRITABLE or not is_here:
            raise
        raise OSError(
            f"{path} must be writable; got {os.strerror(error.errno)}: free some space or give the right "
            "to write there, or choose another place, then run the same command again"
        ) from error


def _locked_folder(path: Path, stack: ExitStack) -> Path:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        # Until it has a lock, another command may take it for an abandoned one and remove it.
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        with suppress(OSError):
            _lock(folder, stack, fcntl.LOCK_SH)
        if folder.exists():
            return folder


def _lock(folder: Path, stack: ExitStack, how: int) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    fcntl.flock(descriptor, how)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write a JSON file atomically; NaN and infinity, which JSON does not know, are refused."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path, *, kind: type = dict, hint: str = 'run "make repro"') -> Any:
    """Read a JSON file that holds a `kind`; `hint` says what to do where it is not there or damaged."""
    require_file(path, hint=f"{hint} first")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be a JSON file; found {error}; {hint}") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path} must be a JSON {kind.__name__}; found {shorten(content)}; {hint}")
    return content


def sha256(path: str | Path) -> str:
    """Hash a file's content, as 64 hexadecimal digits."""
    require_file(path, hint='run "make repro" first')
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def swap_in(folder: Path, path: Path) -> None:
    """Move a folder out of one that is about to be removed; what was at the path takes its place there."""
    while True:
        try:
            folder.rename(path)
            return
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        with suppress(FileNotFoundError):
            if exchange(folder, path):
                return
            # Not in one step: between two renames there is nothing at the path.
            path.rename(Path(tempfile.mkdtemp(dir=folder.parent)) / path.name)


def exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step; false where the system or the file system cannot do it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if not libc.renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE):
        return True
    if (number := ctypes.get_errno()) in UNABLE:
        return False
    raise OSError(number, os.strerror(number), str(second))
