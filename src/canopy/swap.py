"""Put a folder in the place of another one, with no moment in between."""

import ctypes
import errno
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

# What renaming a folder to a place that is taken fails with.
TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
# What systems and file systems that cannot exchange two paths answer.
UNABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)

AT_FDCWD = -100
# RENAME_EXCHANGE of Linux's renameat2, RENAME_SWAP of macOS's renamex_np.
EXCHANGE = 2


def swap_in(folder: Path, path: Path) -> None:
    """Move a folder out of one that is about to be removed; what was at the path takes its place there."""
    while True:
        try:
            folder.rename(path)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        else:
            return
        with suppress(FileNotFoundError):
            if exchange(folder, path):
                return
            # Not in one step: between two renames there is nothing at the path.
            path.rename(Path(tempfile.mkdtemp(dir=folder.parent)) / path.name)


def exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step; false where the system or the file system cannot do it."""
    libc = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(first), os.fsencode(second)
    try:
        if sys.platform == "darwin":
            failed = libc.renamex_np(*paths, EXCHANGE)
        else:
            failed = libc.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], EXCHANGE)
    except AttributeError:
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in UNABLE:
        return False
    raise OSError(number, os.strerror(number), str(second))
