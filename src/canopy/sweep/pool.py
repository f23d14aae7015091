"""Several workers on one machine, each in its own process."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.context import SpawnProcess

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher

from canopy.cores import usable_cores
from canopy.sweep.worker import TooManyFailuresError, Worker

log = logging.getLogger(__name__)

# What libraries that compute in parallel read when they are imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Killed workers, for each that there should be, before the command gives up.
MAX_DEATHS = 5
# Exit code of a worker that reports too many failures; others are as good as killed.
FAILED = 3


def run_workers(worker: Worker, launcher: Launcher, *, n_workers: int) -> None:
    """Let several processes, which share the cores, do a worker's trials; one that is killed is replaced.

    Raises:
        TooManyFailuresError: If a worker failed, or too many were killed.
    """
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, str(max(1, usable_cores() // n_workers)))
    context = multiprocessing.get_context("spawn")
    # The command itself and what Hydra keeps for it are no modules that a new process could import.
    state = Singleton.get_state()
    common = cloudpickle.dumps((worker.plan, worker.folder, worker.deadline, worker.first, launcher, state))
    workers: list[SpawnProcess] = []
    n_started = n_done = 0
    try:
        while n_done < n_workers:
            while len(workers) < n_workers - n_done:
                is_first = worker.is_first and n_started == 0
                process = context.Process(target=_work, args=(common, is_first), name=f"worker-{n_started}")
                process.start()
                workers.append(process)
                n_started += 1
            time.sleep(0.1)
            for process in [process for process in workers if not process.is_alive()]:
                workers.remove(process)
                if process.exitcode == 0:
                    n_done += 1
                elif process.exitcode == FAILED or n_started >= (MAX_DEATHS + 1) * n_workers:
                    raise TooManyFailuresError(
                        f"Workers must live; the last of {n_started} ended with exit code "
                        f"{process.exitcode}: see the log above"
                    )
                else:
                    log.warning("A worker died (exit code %s); another one takes its place", process.exitcode)
    finally:
        # SIGTERM lets each save the state of its run.
        for process in workers:
            process.terminate()
        for process in workers:
            process.join()


def _work(common: bytes, is_first: bool) -> None:  # noqa: FBT001 - of a process
    """Be a worker: the first function of a new process."""
    plan, folder, deadline, first, launcher, state = cloudpickle.loads(common)
    Singleton.set_state(state)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        Worker(plan, folder=folder, deadline=deadline, is_first=is_first, first=first).run(launcher)
    except TooManyFailuresError as error:
        log.error("%s", error)
        raise SystemExit(FAILED) from error


def _end_with_parent() -> None:
    """Stop this process when the one that started it is gone: no other process would."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
