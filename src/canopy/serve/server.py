"""Start a server: check the bundle, then let uvicorn keep its processes running."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from canopy.export.manifest import MANIFEST_FILE
from canopy.export.registry import local_bundle
from canopy.export.scorer import Scorer
from canopy.files import folder_beside
from canopy.serve.app import API_KEY, create_app
from canopy.serve.metrics import MULTIPROCESS
from canopy.serve.service import Settings

log = logging.getLogger(__name__)

N_ACCEPTED_AT_ONCE = 32
# Of a request line with its headers, of the end of a body in parts.
MAX_HEAD_BYTES = 64 * 1024
# Requests of a connection that wait for the answers to others.
MAX_WAITING = 32
# Between two pieces of a request, or before its first.
SILENT_SECONDS = 20.0


def serve(settings: Settings) -> None:
    """Answer requests until a signal stops the server; then finish those in flight."""
    if os.environ.get(API_KEY) == "":
        raise ValueError(f"{API_KEY} must hold a key; got an empty text: unset it to answer all")
    # As an exception, so that what is held is cleaned up; uvicorn sends again what it handled.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    name, local = settings.bundle, local_bundle(settings.bundle)
    settings = settings.model_copy(update={"bundle": local})
    # Here, so that a mistake is reported once, and not by each process.
    manifest = Scorer(settings.bundle).manifest
    sockets = listen(settings.host, settings.port)
    options: dict[str, Any] = {
        "http": BoundedProtocol,
        "ws": "none",
        "lifespan": "off",
        "log_config": None,
        # The application writes one.
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": settings.stop_seconds,
    }
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{sockets[0].getsockname()[1]}"
    log.info("Serving %s (%s) on %s", name, manifest.table.title, url)
    if settings.workers == 1:
        uvicorn.Server(uvicorn.Config(create_app(settings), **options)).run(sockets)
        return
    with folder_beside(Path(tempfile.gettempdir(), "canopy-serve")) as folder:
        # A process that is started later has the same model as the others.
        kept = folder / "bundle"
        kept.mkdir()
        for name in (MANIFEST_FILE, *manifest.present):
            shutil.copyfile(Path(settings.bundle, name), kept / name)
        # The bundle may have changed meanwhile.
        Scorer(kept)
        os.environ[MULTIPROCESS] = tempfile.mkdtemp(dir=folder)
        factory = partial(create_app, settings.model_copy(update={"bundle": str(kept)}), shared=folder)
        # Silent for 10 s, one is replaced; a large body keeps it busy for a second or two.
        options |= {"workers": settings.workers, "timeout_worker_healthcheck": 10}
        supervisor = Supervisor(uvicorn.Config(factory, factory=True, **options), sockets)
        supervisor.run()
        sys.exit(supervisor.status)


class BoundedProtocol(HttpToolsProtocol):
    """A connection with bounds, since any client could have uvicorn's memory, or all of its connections."""

    # Bytes since the last piece of a body, or since a request was complete.
    _n_unparsed = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        self._n_unparsed += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.response_complete:
            self._wait()
        if self._n_unparsed > MAX_HEAD_BYTES:
            self.send_400_response(f"The headers must be at most {MAX_HEAD_BYTES} bytes")
        if len(self.pipeline) > MAX_WAITING:
            self.transport.abort()

    def on_body(self, body: bytes) -> None:
        # The body has its own limit.
        self._n_unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._n_unparsed = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # The request that comes next may wait for its body.
        if self.cycle.more_body and not self.transport.is_closing():
            self._wait()

    def _wait(self) -> None:
        # What comes cancels it.
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(SILENT_SECONDS, self.timeout_keep_alive_handler)


class Supervisor(Multiprocess):
    """What keeps several processes running; its exit `status` has the signal that ended them."""

    status = STARTUP_FAILURE

    def handle_signals(self) -> None:
        if self.signal_queue:
            self.status = 128 + self.signal_queue[-1]
        super().handle_signals()


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind the address, and listen on it several times.

    The event loop accepts one connection on each socket, then answers all requests that have come. With one
    socket the last of 64 clients that come at once would wait for 2,000 answers to others.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        first = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = f"host and port must be a free address of this machine; got {host}:{port}"
        raise OSError(f"{reason}: {error.strerror}") from error
    return [first, *(first.dup() for _ in range(N_ACCEPTED_AT_ONCE - 1))]
