"""Several workers on one machine, each in its own process."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher

from canopy.cores import usable_cores
from canopy.sweep.attributes import KILLED
from canopy.sweep.worker import TooManyFailuresError, Worker

log = logging.getLogger(__name__)

# What libraries that compute in parallel read when they are imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
TOO_MANY_FAILURES = 3
PARENT_CHECK_SECONDS = 1
# Workers that die one after the other, for each that there should be, before the sweep gives up.
MAX_DEATHS = 3


def run_workers(worker: Worker, launcher: Launcher, *, n_workers: int) -> None:
    """Let several processes do the trials of a study; a worker that dies is replaced.

    Args:
        worker: Says what they do.
        launcher: Runs a trial in a worker's own process.
        n_workers: Their number. They share the machine's cores.

    Raises:
        TooManyFailuresError: If more trials have failed than the sweep allows, or workers die one after the
            other and no trial comes to its end in between.
    """
    context = multiprocessing.get_context("spawn")
    # The command itself and what Hydra keeps for it are no modules that a new process could import.
    state = Singleton.get_state()
    common = cloudpickle.dumps((worker.plan, worker.folder, worker.deadline, worker.first, launcher, state))
    workers: list[BaseProcess] = []
    n_started = 0

    def start() -> None:
        nonlocal n_started
        is_first = worker.is_first and n_started == 0
        process = context.Process(
            target=_work, args=(common, os.getpid(), is_first), name=f"worker-{n_started}"
        )
        process.start()
        workers.append(process)
        n_started += 1

    share = str(max(1, usable_cores() // n_workers))
    threads = {name: os.environ.get(name, share) for name in THREAD_VARIABLES}
    with _environment(threads), _ending(workers):
        for _ in range(n_workers):
            start()
        n_deaths, n_ended = 0, _n_ended(worker)
        while workers:
            time.sleep(0.1)
            for process in [process for process in workers if not process.is_alive()]:
                workers.remove(process)
                if process.exitcode == TOO_MANY_FAILURES:
                    raise TooManyFailuresError("Too many trials have failed; see the last reason above")
                if process.exitcode != 0:
                    before, n_ended = n_ended, _n_ended(worker)
                    n_deaths = 1 if n_ended > before else n_deaths + 1
                    if n_deaths >= MAX_DEATHS * n_workers:
                        raise TooManyFailuresError(
                            f"Workers must live; got {n_deaths} that died one after the other without a "
                            f"trial done, the last with exit code {process.exitcode}: see the log above"
                        )
                    log.warning("A worker died (exit code %s); another one takes its place", process.exitcode)
                    start()


def _n_ended(worker: Worker) -> int:
    """Count the trials that have ended."""
    try:
        trials = worker.study.get_trials(deepcopy=False)
    except KeyError as error:
        raise ValueError(
            f"Study {worker.plan.study_name} must stay in its storage while it is worked on; got it deleted"
        ) from error
    return sum(trial.state.is_finished() and KILLED not in trial.user_attrs for trial in trials)


def _work(common: bytes, parent: int, is_first: bool) -> None:  # noqa: FBT001 - of a process
    """Be a worker: the first function of a new process."""
    plan, folder, deadline, first, launcher, state = cloudpickle.loads(common)
    Singleton.set_state(state)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        Worker(plan, folder=folder, deadline=deadline, is_first=is_first, first=first).run(launcher)
    except TooManyFailuresError as error:
        log.error("%s", error)
        raise SystemExit(TOO_MANY_FAILURES) from error


def _end_with(parent: int) -> None:
    """Stop this process when the one that started it is gone: no other process would."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment for processes that are started in a block."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _ending(workers: list[BaseProcess]) -> Iterator[None]:
    """End the workers with the block; SIGTERM lets each save the state of its run."""
    try:
        yield
    finally:
        for process in workers:
            process.terminate()
        for process in workers:
            process.join()
