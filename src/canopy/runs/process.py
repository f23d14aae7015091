"""Which process trains a run, and whether it still does."""

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
    return {"host": this_host(), "pid": process.pid, "started": process.create_time()}


def is_alive(process: dict[str, Any]) -> bool:
    """Check whether a process named by `this_process` still runs; one of another host is taken to."""
    if process["host"] != this_host():
        return True
    try:
        found = psutil.Process(process["pid"])
        # After a restart of the machine, or much work, another process may have the number.
        is_same = "started" not in process or abs(found.create_time() - process["started"]) < 1
        return bool(is_same and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def trains_elsewhere(record: dict[str, Any]) -> bool:
    """Check whether another process of this machine trains the run of a record.

    Whether one of another machine does, only that machine knows.
    """
    process = record.get("process", {})
    here = record.get("status") == "running" and process.get("host") == this_host()
    return here and process["pid"] != os.getpid() and is_alive(process)
