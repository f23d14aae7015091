"""How many cores this process may use: not all that the machine has."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Processes that share the cores of this one's cgroup.
_n_sharing = 1


def share_cores(n: int) -> None:
    """Let this process be one of `n` that share the cores."""
    global _n_sharing
    _n_sharing = n


def usable_cores(root: Path = Path("/")) -> int:
    """Count the cores that this process may keep busy, by its affinity mask and the CPU quota of its cgroup.

    `os.cpu_count` gives those of the machine, `os.process_cpu_count` of Python 3.13 knows no quotas.
    """
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([n_cores, *(math.ceil(quota) for quota in _quotas(root))]) // _n_sharing)


def free_cores() -> int:
    """Count the cores of `usable_cores` that other processes leave free in a moment of 0.3 s, at least 1."""
    # Here, since the server does without it.
    import psutil

    n_cores = psutil.cpu_count() or 1
    n_busy = round(float(psutil.cpu_percent(0.3)) / 100 * n_cores)
    return max(1, min(usable_cores(), n_cores - n_busy))


def _quotas(root: Path) -> Iterator[float]:
    """Read the quotas, in cores, of this process' cgroup and of those above it (kernel: cgroup-v2.rst)."""
    # A container's mount may show only the container's part.
    group, mount = "", root / "sys/fs/cgroup"
    with suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        group = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    for folder in [mount / group, *(mount / group).parents]:
        if folder.is_relative_to(mount) and (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
            if quota != "max":
                yield int(quota) / int(period)
