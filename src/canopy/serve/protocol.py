"""How much a connection may send, and how long it may be silent, before it is closed.

uvicorn reads headers of any length, takes any number of requests that come at once on one connection, and
waits for ever for the rest of one. Any client could have the server's memory, or all of its connections.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Of a request line with its headers, of the end of a body in parts.
MAX_HEAD_BYTES = 64 * 1024
# Requests of a connection that wait for the answers to others.
MAX_WAITING = 32
# Between two pieces of a request, or before its first.
SILENT_SECONDS = 20.0


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is closed when it sends too much besides bodies, or does not finish a request."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Bytes since the last piece of a body, or since a request was complete.
        self._n_unparsed = 0
        self._is_complete = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        self._n_unparsed += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._is_complete or self.cycle.response_complete:
            self._wait()
        if self._n_unparsed > MAX_HEAD_BYTES:
            self.send_400_response(f"The headers must be at most {MAX_HEAD_BYTES} bytes")
        if len(self.pipeline) > MAX_WAITING:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._is_complete = False
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        # The body has its own limit.
        self._n_unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._n_unparsed, self._is_complete = 0, True
        super().on_message_complete()

    def _wait(self) -> None:
        """Close the connection if nothing more comes for long; what comes cancels this."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(SILENT_SECONDS, self.timeout_keep_alive_handler)
