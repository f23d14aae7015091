"""Start a server: check the bundle, then let uvicorn keep its processes running."""

import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from canopy.bundle.scorer import Scorer
from canopy.serve.metrics import share_among_processes
from canopy.serve.settings import Settings

log = logging.getLogger(__name__)

FACTORY = "canopy.serve.app:create_app"

N_ACCEPTED_AT_ONCE = 32


def serve(settings: Settings) -> None:
    """Answer requests until a signal stops the server; then finish those in flight.

    Args:
        settings: The server's.

    Raises:
        FileNotFoundError: If a file of the bundle is not there.
        ValueError: If the bundle has been damaged or changed.
        OSError: If nobody can listen at the address.
    """
    # Here, so that a mistake is told once, and not by each process.
    manifest = Scorer(settings.bundle).manifest
    with tempfile.TemporaryDirectory(prefix="canopy-serve-") as folder, ended_by_signals():
        if settings.workers > 1:
            share_among_processes(Path(folder) / "metrics")
            settings = replace(settings, shared_folder=folder)
        settings.export()
        config = uvicorn.Config(
            FACTORY,
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            log_config=None,
            # The gate writes one.
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.stop_seconds,
        )
        sockets = listen(settings.host, settings.port)
        log.info(
            "Serving %s (%s) on http://%s:%d", settings.bundle, manifest.title, settings.host, settings.port
        )
        if settings.workers > 1:
            Multiprocess(config, sockets).run()
            return
        server = uvicorn.Server(config)
        server.run(sockets)
        if not server.started:
            sys.exit(STARTUP_FAILURE)


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind the address, and listen on it several times.

    The event loop accepts one connection on each socket, then answers all requests that have come. With one
    socket the last of 64 clients that come at once would wait for 2,000 answers to others.

    Returns:
        Handles of one socket.

    Raises:
        OSError: If the address is not this machine's, or somebody listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        first = socket.create_server((host, port), family=family)
    except OSError as error:
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror
        raise OSError(
            f"host and port must be an address of this machine that is free; found {host}:{port}: {reason}: "
            f"choose another, port={port + 1}"
        ) from error
    handles = [first, *(first.dup() for _ in range(N_ACCEPTED_AT_ONCE - 1))]
    for handle in handles:
        # For the worker processes.
        handle.set_inheritable(True)
    return handles


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does, so that what it holds is cleaned up.

    uvicorn handles the signal itself while it runs, then sends it again.
    """

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
