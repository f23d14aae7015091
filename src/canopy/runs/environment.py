"""What a run depends on besides its config: files of the project, packages, machine, memory."""

import functools
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


def peak_memory_mib() -> float:
    """Give the most memory that this process has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def peak_gpu_memory_mib() -> float | None:
    """Give the most memory that this process's tensors have held on one GPU, in MiB; None without a GPU."""
    peaks = [torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count())]
    return round(max(peaks) / 2**20, 1) if peaks else None
