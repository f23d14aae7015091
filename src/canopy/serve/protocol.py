"""How much a connection may send, and how long it may be silent, before it is closed.

uvicorn reads headers of any length, takes any number of requests that come at once on one connection, and
waits for ever for the rest of one. Any client could have the server's memory, or all of its connections.
It also takes the body from a request that offers to speak HTTP/2, as Java's client does.
"""

import asyncio
import logging
import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = logging.getLogger(__name__)

# Of a request line with its headers, of the end of a body in parts.
MAX_HEAD_BYTES = 64 * 1024
# Requests of a connection that wait for the answers to others.
MAX_WAITING = 32
# Between two pieces of a request, or before its first.
SILENT_SECONDS = 20.0

TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"The headers must be at most %d bytes" % MAX_HEAD_BYTES
)


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is closed when it sends too much besides bodies, or does not finish a request."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Bytes since the last piece of a body, or since a request was complete.
        self._n_unparsed = 0
        self._data = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        self._n_unparsed += len(data)
        self._data = data
        super().data_received(data)
        cycle = self.cycle
        is_answered = cycle is None or cycle.response_complete
        if not is_answered and not cycle.more_body and cycle.scope is self.scope:
            # Nothing is missing of the request that came last.
            self._n_unparsed = 0
        elif not self.transport.is_closing():
            self._wait()
            if self._n_unparsed > MAX_HEAD_BYTES:
                log.warning("A client's connection was closed: headers of more than %d bytes", MAX_HEAD_BYTES)
                if is_answered:
                    self.transport.write(TOO_LARGE)
                self.transport.close()
        if len(self.pipeline) > MAX_WAITING:
            log.warning("A client's connection was closed: more than %d requests at once", MAX_WAITING)
            self.transport.abort()

    def on_headers_complete(self) -> None:
        if not self._offers_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._offers_upgrade():
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        # The body has its own limit.
        self._n_unparsed = 0
        super().on_body(body)

    def _offers_upgrade(self) -> bool:
        return bool(self.parser.should_upgrade()) and any(name == b"upgrade" for name, _ in self.headers)

    def _unsupported_upgrade_warning(self) -> None:
        """Read a request again, without its offer to continue in another protocol."""
        upgrade = sys.exc_info()[1]
        if not self._offers_upgrade() or not isinstance(upgrade, httptools.HttpParserUpgrade):
            super()._unsupported_upgrade_warning()
            return
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        rest = self._data[upgrade.args[0] :]
        super().data_received(b"\r\n".join([*lines, b"", rest]))

    def _wait(self) -> None:
        """Close the connection if nothing more comes for long; what comes cancels this."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(SILENT_SECONDS, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, unless it is we who do not listen."""
        if self.flow.read_paused and not self.transport.is_closing():
            self._wait()
        else:
            super().timeout_keep_alive_handler()
