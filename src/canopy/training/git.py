"""What git knows of the code that a run was started from."""

import subprocess


def git_sha() -> str | None:
    """Name the commit that is checked out, or None without a git repository or without git."""
    return _git("rev-parse", "HEAD").strip() or None


def git_diff() -> str:
    """Give the changes of tracked files against that commit, empty if there are none."""
    return _git("diff", "HEAD", "--", ".", ":(exclude)reports", ":(exclude)dvc.lock")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""
