"""What a run depends on beside its config: files of the project, packages, machine, memory."""

import functools
import os
import platform
import resource
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from canopy.cores import usable_cores
from canopy.files import sha256

# Their content decides what the pipeline trains, and on what.
PROJECT_FILES = ("params.yaml", "dvc.lock")


def hash_project_files() -> dict[str, str]:
    """Hash those of `PROJECT_FILES` that the working folder has."""
    return {name: sha256(name) for name in PROJECT_FILES if Path(name).is_file()}


@functools.cache
def list_packages() -> dict[str, str]:
    """Give the installed packages and their versions, by name; looked up once in each process."""
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


def limit_threads(n_processes: int = 1) -> None:
    """Give each of some processes its share of the cores, unless `OMP_NUM_THREADS` says how many threads.

    By themselves, PyTorch and Lightning know the affinity mask but no CPU quota.

    Args:
        n_processes: Processes that train together on this machine.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    n_threads = min(torch.get_num_threads(), max(1, usable_cores() // n_processes))
    torch.set_num_threads(n_threads)
    if n_processes > 1:
        # Lightning starts the others.
        os.environ["OMP_NUM_THREADS"] = str(n_threads)


def peak_memory_mib() -> float:
    """Give the most memory that this process has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def peak_gpu_memory_mib() -> float | None:
    """Give the most memory that this process's tensors have held on one GPU, in MiB; None without a GPU."""
    peaks = [torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count())]
    return round(max(peaks) / 2**20, 1) if peaks else None
