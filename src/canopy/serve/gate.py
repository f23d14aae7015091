"""What every request passes through: its number, the key, the limit of its body, the log, the counters."""

import asyncio
import hmac
import io
import os
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from canopy.serve.metrics import Metrics
from canopy.serve.openapi import CSV_HEADERS
from canopy.serve.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# What anybody may ask: they tell nothing of the rows that were sent.
OPEN_PATHS = frozenset(
    {
        *("/health", "/ready", "/", "/page.css", "/page.js", "/openapi.json", "/docs"),
        *("/swagger/swagger-ui-bundle.js", "/swagger/swagger-ui.css", "/swagger/favicon-32x32.png"),
    }
)
REQUEST_ID = b"x-request-id"

# In log and counters where nothing was answered: the client went away, or the server had to stop.
CLIENT_LEFT, STOPPED = 499, 503

# Of a text that a client chose, in the log.
MAX_LOGGED = 200


class BodyTooLarge(HTTPException):
    """A request's body is larger than the server reads.

    Args:
        limit: What it reads, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(
            413, f"A request's body must be at most {limit:,} bytes; found more: send fewer rows at once"
        )


class Gate:
    """ASGI middleware around the whole application.

    Args:
        app: The application.
        settings: The server's.
        counters: What counts.
        model: Hash that names the model in the log.
        paths: Paths that the application knows; others are counted under one name.
    """

    def __init__(
        self, app: App, *, settings: Settings, counters: Metrics, model: str, paths: set[str]
    ) -> None:
        self._app, self._counters, self._model, self._paths = app, counters, model, paths
        self._limit = settings.max_body_bytes
        if isinstance(sys.stdout, io.TextIOWrapper):
            # What led to a crash shall be in the log.
            sys.stdout.reconfigure(line_buffering=True)
        self._key = None if settings.api_key is None else os.fsencode(settings.api_key)
        self._inner: App = self._admit
        if settings.cors_origins:
            # Around the key: a browser asks first without it whether a page may ask.
            self._inner = CORSMiddleware(
                self._admit,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "HEAD", "POST"),
                allow_headers=("Content-Encoding", "Content-Type", "X-API-Key", "X-Request-ID"),
                expose_headers=("X-Request-ID", *CSV_HEADERS),
            )

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = name_request(dict(scope["headers"]))
        state = scope.setdefault("state", {})
        state["n_rows"] = status = n_read = 0

        async def counted_receive() -> Message:
            nonlocal n_read
            message = await receive()
            n_read += len(message.get("body", b""))
            if n_read > self._limit:
                raise BodyTooLarge(self._limit)
            return message

        async def named_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID, request_id)]
            await send(message)

        try:
            await self._inner(scope, counted_receive, named_send)
        except ClientDisconnect:
            # Nobody is there to be answered, and nothing has gone wrong here.
            status = CLIENT_LEFT
        except asyncio.CancelledError:
            status = status or STOPPED
            raise
        finally:
            seconds = time.perf_counter() - started
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._counters.count_request(path, status or 500, seconds)
            line = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "request_id": request_id.decode(),
                "client": (scope.get("client") or ("",))[0][:MAX_LOGGED],
                "method": scope["method"],
                "path": scope["path"][:MAX_LOGGED],
                "status": status or 500,
                "ms": round(seconds * 1e3, 3),
                "rows": state["n_rows"],
                "model": self._model,
            }
            write_line(orjson.dumps(line).decode() + "\n")

    async def _admit(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it where it is not to be."""
        refused = self._refusal(scope["path"], dict(scope["headers"]))
        if refused is None:
            # The server below leaves the body out of the answer to HEAD.
            asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            await self._app(asked, receive, send)
        else:
            await answer(send, refused)

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> HTTPException | None:
        """Tell why a request is not passed on."""
        if self._key is not None and path not in OPEN_PATHS and not self._has_key(headers):
            return HTTPException(
                401, "The header X-API-Key must hold this server's key; found another or none"
            )
        length = headers.get(b"content-length", b"")
        return BodyTooLarge(self._limit) if length.isdigit() and int(length) > self._limit else None

    def _has_key(self, headers: dict[bytes, bytes]) -> bool:
        assert self._key is not None
        return hmac.compare_digest(headers.get(b"x-api-key", b""), self._key)


def write_line(line: str) -> None:
    """Write a line of the log; where it cannot be written, answers are given all the same."""
    try:  # noqa: SIM105 - a context would take longer than the writing
        sys.stdout.write(line)
    except OSError:
        pass


def name_request(headers: dict[bytes, bytes]) -> bytes:
    """Take over the number that the client gave a request, or draw one."""
    found = headers.get(REQUEST_ID, b"")
    usable = found and len(found) <= MAX_LOGGED and found.isascii() and found.decode().isprintable()
    return found if usable else os.urandom(16).hex().encode()


async def answer(send: Send, error: HTTPException) -> None:
    """Answer a request with an error."""
    body = orjson.dumps({"error": error.detail})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
