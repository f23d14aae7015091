"""Whether the process that works on a run is still there."""

import os
import socket
from typing import Any

import psutil


def this_host() -> str:
    """Name this machine."""
    return socket.gethostname()


def this_process() -> dict[str, Any]:
    """Name this process so that another one can find out whether it still runs."""
    process = psutil.Process()
    return {"host": this_host(), "pid": process.pid, "started": process.create_time(), **_slurm_job()}


def _slurm_job() -> dict[str, int]:
    """Name the Slurm job of this process, and how many times it was requeued; empty outside one."""
    numbers = {"job": "SLURM_JOB_ID", "restarts": "SLURM_RESTART_COUNT"}
    return {
        key: int(os.environ.get(name, 0)) for key, name in numbers.items() if "SLURM_JOB_ID" in os.environ
    }


def is_alive(process: dict[str, Any]) -> bool:
    """Check whether a process named by `this_process` still runs.

    One of another host is taken to, unless Slurm has started its job anew since.
    """
    if process["host"] != this_host():
        job = _slurm_job()
        return not job or process.get("job") != job["job"] or process["restarts"] >= job["restarts"]
    try:
        found = psutil.Process(process["pid"])
        # A later process may have the same number.
        is_same = abs(found.create_time() - process.get("started", found.create_time())) < 1
        return bool(is_same and found.status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, ValueError):
        return False


def may_still_run(record: dict[str, Any]) -> bool:
    """Check whether the process of a record may still be at work: it has recorded no end and is alive."""
    return record["status"] not in ("stopped", "failed") and is_alive(record["process"])
