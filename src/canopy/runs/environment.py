"""What a run depends on besides its config: code, files of the project, packages, machine, memory."""

import functools
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from canopy.cores import usable_cores
from canopy.files import sha256

# Their content decides what the pipeline trains, and on what.
PROJECT_FILES = ("params.yaml", "dvc.lock")
# Where files that git does not know are code; elsewhere they may be data of any size.
CODE = ("configs", "scripts", "src")
# What stages write, and addresses of data, which may have passwords in them.
NO_CODE = (":(exclude,glob)**/reports/**", ":(exclude,glob)**/dvc.lock", ":(exclude).dvc")


def hash_project_files() -> dict[str, str]:
    """Hash those of `PROJECT_FILES` that the working folder has."""
    return {name: sha256(name) for name in PROJECT_FILES if Path(name).is_file()}


@functools.cache
def list_packages() -> dict[str, str]:
    """Give the versions of the installed packages by name."""
    return dict(sorted((item.name, item.version) for item in distributions()))


def describe_machine() -> dict[str, Any]:
    """Describe Python, system, processor and GPUs; PyTorch calculates otherwise with other instructions."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "n_cores": usable_cores(),
        "n_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def peak_memory() -> dict[str, float | None]:
    """Give the most memory in MiB that this process has held, and its tensors on one GPU."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gpus = [torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count())]
    return {
        # Linux counts in KiB, macOS in bytes.
        "peak_memory_mib": round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1),
        "peak_gpu_memory_mib": round(max(gpus) / 2**20, 1) if gpus else None,
    }


def git_sha() -> str | None:
    """Name the commit that is checked out, or None without a git repository or without git."""
    return _git("rev-parse", "HEAD").strip() or None


def git_diff() -> str:
    """Give the changes of tracked files and the new files below `CODE`, for `git apply`; empty if none."""
    top = _git("rev-parse", "--show-toplevel").strip()
    index = _git("rev-parse", "--path-format=absolute", "--git-path", "index").strip()
    if not Path(index).is_file():
        return ""
    with tempfile.TemporaryDirectory() as folder:
        # New files are shown once they are in an index; the user's own stays as it is.
        copy = shutil.copy2(index, folder)
        folders = [name for name in CODE if Path(top, name).is_dir()]
        _git("-C", top, "add", "--intent-to-add", "--", *folders, index=copy)
        return _git("-C", top, "diff", "--binary", "HEAD", "--", ".", *NO_CODE, index=copy)


def _git(*arguments: str, index: str | None = None) -> str:
    environment = os.environ if index is None else {**os.environ, "GIT_INDEX_FILE": index}
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""
