"""What git knows of the code that a run was started from."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

# Where new files are code; elsewhere they may be data of any size.
CODE = ("configs", "scripts", "src")


def git_sha() -> str | None:
    """Name the commit that is checked out, or None without a git repository or without git."""
    return _git("rev-parse", "HEAD").strip() or None


def git_diff() -> str:
    """Give what `git apply` needs to make the working tree's code of that commit, empty if nothing.

    Changes of tracked files but reports and DVC's settings, and new files below `CODE` that git does not
    ignore.
    """
    # The command may have been started in the folder of a data set.
    top = _git("rev-parse", "--show-toplevel").strip()
    index = _git("rev-parse", "--path-format=absolute", "--git-path", "index").strip()
    if not index or not Path(index).is_file():
        return ""
    with tempfile.TemporaryDirectory() as folder:
        # New files are shown once they are in an index, and the user's own stays as it is.
        copy = shutil.copy(index, folder)
        folders = [name for name in CODE if Path(top, name).is_dir()]
        if folders:
            _git("-C", top, "add", "--intent-to-add", "--", *folders, index=copy)
        # No code: what stages write, and addresses of data, which may have passwords in them.
        others = [":(exclude,glob)**/reports/**", ":(exclude,glob)**/dvc.lock", ":(exclude).dvc"]
        return _git("-C", top, "diff", "--binary", "HEAD", "--", ".", *others, index=copy)


def _git(*arguments: str, index: str | None = None) -> str:
    environment = os.environ if index is None else {**os.environ, "GIT_INDEX_FILE": index}
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=False, env=environment
        )
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""
