"""Start a server: check the bundle, then let uvicorn keep its processes running."""

import fcntl
import logging
import os
import shutil
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

from canopy.export.manifest import MANIFEST_FILE
from canopy.export.scorer import Scorer
from canopy.serve.metrics import MULTIPROCESS
from canopy.serve.protocol import BoundedProtocol
from canopy.serve.settings import Settings

log = logging.getLogger(__name__)

FACTORY = "canopy.serve.app:create_app"

N_ACCEPTED_AT_ONCE = 32

# A process that is silent for so long is replaced; a large body keeps one busy for a second or two.
HEALTHCHECK_SECONDS = 10


def serve(settings: Settings) -> None:
    """Answer requests until a signal stops the server; then finish those in flight.

    Args:
        settings: The server's.

    Raises:
        FileNotFoundError: If a file of the bundle is not there.
        ValueError: If the bundle has been damaged or changed.
        OSError: If the address cannot be bound.
    """
    # Here, so that a mistake is reported once, and not by each process.
    manifest = Scorer(settings.bundle).manifest
    with scratch_folder() as folder, ended_by_signals():
        sockets = listen(settings.host, settings.port)
        # A process that is started later has the same model as the others.
        kept = folder / "bundle"
        kept.mkdir()
        for name in (MANIFEST_FILE, *manifest.present):
            shutil.copyfile(Path(settings.bundle, name), kept / name)
        # It may have changed since; a process that finds so would be replaced for ever.
        Scorer(kept)
        shared = None
        if settings.workers > 1:
            shared, metrics = str(folder), folder / "metrics"
            metrics.mkdir()
            os.environ[MULTIPROCESS] = str(metrics)
        replace(settings, bundle=str(kept), shared_folder=shared).export()
        config = uvicorn.Config(
            FACTORY,
            factory=True,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            workers=settings.workers,
            timeout_worker_healthcheck=HEALTHCHECK_SECONDS,
            log_config=None,
            # The gate writes one.
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.stop_seconds,
        )
        host, port, *_ = sockets[0].getsockname()
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        log.info("Serving %s (%s) on %s", settings.bundle, manifest.table.title, url)
        if settings.workers > 1:
            supervisor = Supervisor(config, sockets)
            supervisor.run()
            sys.exit(supervisor.status)
        server = uvicorn.Server(config)
        try:
            server.run(sockets)
        except KeyboardInterrupt:
            # uvicorn has finished what was in flight.
            sys.exit(128 + signal.SIGINT)
        if not server.started:
            sys.exit(STARTUP_FAILURE)


class Supervisor(Multiprocess):
    """What keeps several processes running, and remembers why it ended.

    Attributes:
        status: Exit status.
    """

    status = STARTUP_FAILURE

    def handle_int(self) -> None:
        """End after Ctrl-C."""
        self.status = 128 + signal.SIGINT
        super().handle_int()

    def handle_term(self) -> None:
        """End after SIGTERM."""
        self.status = 128 + signal.SIGTERM
        super().handle_term()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for what the processes share; it is locked, which keeps cleaners of old files away."""
    with tempfile.TemporaryDirectory(prefix="canopy-serve-") as name:
        handle = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield Path(name)
        finally:
            os.close(handle)


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
