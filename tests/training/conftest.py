"""Processes that start within milliseconds."""

import multiprocessing
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import pytest

# A server that has imported torch once and trained nothing.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["canopy.runs.fit", "tensorboard.summary"])


@pytest.fixture
def start() -> Callable[..., BaseProcess]:
    """Call a function in its own process."""

    def start_process(function: Callable[..., object], *arguments: object) -> BaseProcess:
        process = PROCESSES.Process(target=function, args=arguments)
        process.start()
        return process

    return start_process


@pytest.fixture
def start_ranks() -> Callable[..., list[BaseProcess]]:
    """Run code in two processes that train together, as a cluster starts them.

    The code is given as text, since a new process cannot import the functions of a test; the values stand
    in it under their names.
    """

    def start_processes(code: str, **values: object) -> list[BaseProcess]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        processes = []
        for rank in range(2):
            environment = {
                "LOCAL_RANK": str(rank),
                "NODE_RANK": "0",
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            prepared = f"import os\nos.environ.update({environment})\n{code}"
            process = PROCESSES.Process(target=exec, args=(prepared, {**values}))
            process.start()
            processes.append(process)
        return processes

    return start_processes
