"""How many cores this process may use: not all that the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

# How long other processes are watched.
WATCHED_SECONDS = 0.3


def usable_cores(root: Path = Path("/")) -> int:
    """Count the cores that this process may keep busy.

    `os.cpu_count` gives those of the machine. A process gets fewer by its affinity mask (`taskset`, Slurm) or
    by a CPU quota of its cgroup (containers); `os.process_cpu_count` of Python 3.13 knows only the former.

    Args:
        root: Where `proc` and `sys` are.
    """
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([n_cores, *(math.ceil(quota) for quota in _quotas(root))]))


def free_cores() -> int:
    """Count the cores of `usable_cores` that other processes leave free for a moment, at least 1."""
    # Here, since the server does without it.
    import psutil

    n_cores = psutil.cpu_count() or 1
    n_busy = round(float(psutil.cpu_percent(WATCHED_SECONDS)) / 100 * n_cores)
    return max(1, min(usable_cores(), n_cores - n_busy))


def _quotas(root: Path) -> Iterator[float]:
    """Read the quotas of this process' cgroups and of those above them, in cores.

    Source: the kernel's cgroup-v2.rst (`cpu.max`) and sched-bwc.rst (`cpu.cfs_quota_us`), proc(5).
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        # Not Linux.
        return
    for mount in mounts:
        # 33 31 0:30 /root /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
        before, _, after = mount.partition(" - ")
        kind, _, options = after.split(" ", 2)
        is_v2 = kind == "cgroup2"
        if not is_v2 and (kind != "cgroup" or "cpu" not in options.split(",")):
            continue
        visible, place = before.split(" ")[3:5]
        for group in groups:
            _, controllers, path = group.split(":", 2)
            if controllers == "" if is_v2 else "cpu" in controllers.split(","):
                top = root / place.lstrip("/")
                # In a container the mount may show only the container's own part of the tree.
                inside = path.removeprefix(visible.rstrip("/")) if visible != "/" else path
                folder = top / inside.lstrip("/")
                for part in [folder, *folder.parents]:
                    yield from _quota(part)
                    if part == top:
                        break


def _quota(folder: Path) -> Iterator[float]:
    """Read the quota of one cgroup, if it has one."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")
            )
    except OSError:
        return
    if quota not in ("max", "-1") and int(period) > 0:
        yield int(quota) / int(period)
