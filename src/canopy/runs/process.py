"""Which process trains a run, and whether it still does."""

import socket
from typing import Any

import psutil


def this_host() -> str:
    """Name this machine."""
    return socket.gethostname()


def this_process() -> dict[str, Any]:
    """Name this process so that another one can find out whether it still runs."""
    process = psutil.Process()
    return {"host": this_host(), "pid": process.pid, "started": process.create_time()}


def is_alive(process: dict[str, Any]) -> bool:
    """Check whether a process named by `this_process` still runs; one of another host is taken to."""
    if process["host"] != this_host():
        return True
    try:
        found = psutil.Process(process["pid"])
        created = found.create_time()
        # A later process may have the same number.
        is_same = abs(created - process.get("started", created)) < 1
        return bool(is_same and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
