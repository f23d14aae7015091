"""Engines: where a function is called for each part of a table; what comes out is the same on all of them."""

import logging
import multiprocessing
import os
import socket
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from canopy.cores import share_cores, usable_cores
from canopy.processes import end_with_parent

T = TypeVar("T")
R = TypeVar("R")


class Engine(ABC):
    """Calls functions; those that write a file do so atomically, so that they can be called again."""

    @abstractmethod
    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Call a function for each item; gives the results in the order of the items.

        An error is that of the first item, in their order, that has one.
        """


class Local(Engine):
    """This process where there is one item alone, otherwise `n_processes`, by default one for each core."""

    def __init__(self, n_processes: int | None = None) -> None:
        self._n_processes = _positive("n_processes", n_processes)

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        n = min(self._n_processes or usable_cores(), len(items))
        if n < 2:
            yield from map(function, items)
            return
        pending, context = deque[Future[_Outcome]](), multiprocessing.get_context("forkserver")
        # Processes start from one that has imported what they need.
        context.set_forkserver_preload([getattr(function, "func", function).__module__])
        with ProcessPoolExecutor(n, mp_context=context, initializer=_start_worker, initargs=(n,)) as pool:
            try:
                for item in items:
                    pending.append(pool.submit(_call, function, item))
                    if len(pending) > 2 * n:
                        yield _result(pending.popleft().result())
                while pending:
                    yield _result(pending.popleft().result())
            except BrokenProcessPool as error:
                raise ChildProcessError(
                    f"Each of {n} processes must live until its files are done; one was killed, by a person "
                    "or for want of memory: run the same command again, with fewer engine.n_processes"
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)


class Ray(Engine):
    """Tasks of a Ray cluster, by its `address`, or of a Ray that starts here with the command.

    All machines must have the project in the same folder, on a file system that they share. Where a worker
    or a machine dies, Ray calls the function again on another one.

    Args:
        n_workers: Most calls at a time; all cores of the cluster if None.
    """

    def __init__(self, address: str | None = None, n_workers: int | None = None) -> None:
        self._address, self._n_workers = address, _positive("n_workers", n_workers)

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        try:
            import ray
        except ImportError as error:
            raise ValueError(
                'engine=ray must have the package ray; found none: pip install -e ".[ray]", or engine=local'
            ) from error
        if not ray.is_initialized():
            is_local = self._address is None
            require_cluster(self._address or "local")
            ray.init(
                self._address or "local",
                num_cpus=self._n_workers or usable_cores() if is_local else None,
                include_dashboard=False if is_local else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        task: Any = ray.remote(scheduling_strategy="SPREAD")(_call_on_a_core)
        shared = ray.put(function)
        cluster: Any = ray.cluster_resources()
        n, pending = self._n_workers or int(cluster["CPU"]), deque[Any]()
        running: list[Any] = []
        try:
            for item in items:
                if len(running) == n:
                    _, running = ray.wait(running, num_returns=1)
                while pending and pending[0] not in running:
                    yield _result(ray.get(pending.popleft()))
                pending.append(task.remote(shared, item, Path.cwd()))
                running.append(pending[-1])
            while pending:
                yield _result(ray.get(pending.popleft()))
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            # An error of a worker comes with its traceback.
            reason = lines[-1 if isinstance(error, ray.exceptions.RayTaskError) else 0]
            raise ChildProcessError(
                f"Ray must have workers that live until their files are done; got {reason}: run the same "
                "command again"
            ) from error


def require_cluster(address: str) -> None:
    """Refuse the address of a Ray cluster at which nothing answers: Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    if "/" in host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConnectionError(f"A Ray cluster must run at {address}; got {error}: `ray start`") from error


def open_engine(options: DictConfig | None) -> Engine:
    """Make the engine of a command's config; `Local()` if there is none."""
    if not options:
        return Local()
    # Here, since a stage that is called as a function does without it.
    from hydra.utils import instantiate

    engine: Engine = instantiate(OmegaConf.create(options), _execution_whitelist_=["canopy.engines.*"])
    return engine


def _positive(name: str, number: int | None) -> int | None:
    if number is not None and not (isinstance(number, int) and number > 0):
        raise ValueError(f"engine.{name} must be a number of 1 or more, or null; got {number!r}")
    return number


def _start_worker(n: int) -> None:
    share_cores(n)
    end_with_parent()


class _Records(logging.Handler):
    """Keeps what is logged in another process."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append((record.name, record.levelno, record.getMessage()))


# A result or an error, and what was logged.
_Outcome = tuple[Any, BaseException | None, list[tuple[str, int, str]]]


def _call(function: Callable[[T], R], item: T) -> _Outcome:
    log, records = logging.getLogger("canopy"), _Records()
    log.addHandler(records)
    log.setLevel(logging.INFO)
    try:
        return function(item), None, records.found
    except Exception as error:  # noqa: BLE001 - raised again in the process that asked
        return None, error, records.found
    finally:
        log.removeHandler(records)


def _call_on_a_core(function: Callable[[T], R], item: T, folder: Path) -> _Outcome:
    share_cores(sys.maxsize)  # one is left
    # A worker of Ray is where `ray start` was called.
    try:
        os.chdir(folder)
    except OSError as error:
        found = f"{error} on {socket.gethostname()}: share the folder"
        return None, OSError(f"All machines must have the folder of the command; got {found}"), []
    return _call(function, item)


def _result(outcome: _Outcome) -> Any:
    result, error, records = outcome
    for name, level, message in records:
        logging.getLogger(name).log(level, "%s", message)
    if error is not None:
        raise error
    return result
