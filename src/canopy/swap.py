"""Put a folder in the place of another one, with no moment in between."""

import ctypes
import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)  # of a rename to a place that is taken
UNABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # of a file system that cannot exchange two paths
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's renameat2


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
