"""The way of each request: its number, the key, the limit of its body, its path, the log, the counters."""

import asyncio
import hmac
import io
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from canopy.serve.metrics import Metrics
from canopy.serve.openapi import CSV_HEADERS
from canopy.serve.problems import BodyTooLarge, RowsRefused
from canopy.serve.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

REQUEST_ID = b"x-request-id"

# In log and counters where nothing was answered: the client went away, or the server had to stop.
CLIENT_LEFT, STOPPED = 499, 503

# Of a text that a client chose, in the log.
MAX_LOGGED = 200


class Handler(NamedTuple):
    """What answers the requests to a path.

    Attributes:
        method: GET, which answers HEAD too, or POST.
        answer: Gives the response to a request.
        is_open: Whether it answers without the key, since it reveals nothing of the rows that were sent.
    """

    method: str
    answer: Callable[[Request], Awaitable[Response]]
    is_open: bool


class Gate:
    """ASGI application that passes each request to the handler of its path.

    FastAPI's way to a handler takes a fifth of the time of a row, and has nothing on it that these need.

    Args:
        handlers: What answers, by path.
        settings: The server's.
        counters: What counts.
        model: Hash that names the model in the log.
    """

    def __init__(
        self, handlers: Mapping[str, Handler], *, settings: Settings, counters: Metrics, model: str
    ) -> None:
        self._handlers, self._counters, self._model = handlers, counters, model
        self._limit = settings.max_body_bytes
        if isinstance(sys.stdout, io.TextIOWrapper):
            # What led to a crash must be in the log.
            sys.stdout.reconfigure(line_buffering=True)
        self._key = None if settings.api_key is None else os.fsencode(settings.api_key)
        self._inner: App = self._answer
        if settings.cors_origins:
            # Around the key: a browser asks first without it whether a page may ask.
            self._inner = CORSMiddleware(
                self._answer,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "HEAD", "POST"),
                allow_headers=("Content-Encoding", "Content-Type", "X-API-Key", "X-Request-ID"),
                expose_headers=("X-Request-ID", *CSV_HEADERS),
            )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
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
            # The client has left; nothing has gone wrong here.
            status = CLIENT_LEFT
        except asyncio.CancelledError:
            status = status or STOPPED
            raise
        finally:
            seconds = time.perf_counter() - started
            path = scope["path"] if scope["path"] in self._handlers else "other"
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
            # Where it cannot be written, answers are given all the same.
            with suppress(OSError):
                sys.stdout.write(orjson.dumps(line).decode() + "\n")

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._handler(request)(request)
        except RowsRefused as error:
            problems = [problem._asdict() for problem in error.problems]
            response = as_json({"error": str(error), "problems": problems}, 422)
        except HTTPException as error:
            response = as_json({"error": error.detail}, error.status_code, error.headers)
        except ClientDisconnect:
            raise
        except Exception:
            await Response("Internal Server Error", 500, media_type="text/plain")(scope, receive, send)
            # The server writes down where it was.
            raise
        await response(scope, receive, send)

    def _handler(self, request: Request) -> Callable[[Request], Awaitable[Response]]:
        """Find what answers a request.

        Raises:
            HTTPException: If it lacks the key, its body is too large, or there is no such path.
        """
        headers, path, method = dict(request.scope["headers"]), request.scope["path"], request.method
        handler = self._handlers.get(path)
        is_open = self._key is None or (handler is not None and handler.is_open)
        if not is_open and not hmac.compare_digest(headers.get(b"x-api-key", b""), self._key or b""):
            raise HTTPException(
                401, "The header X-API-Key must hold this server's key; found another or none"
            )
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._limit:
            raise BodyTooLarge(self._limit)
        # The server below leaves the body out of the answer to HEAD.
        if handler is not None and handler.method == ("GET" if method == "HEAD" else method):
            return handler.answer
        message = f"A request must be one that /openapi.json describes; got {method} {path[:MAX_LOGGED]}"
        if handler is None:
            raise HTTPException(404, message)
        raise HTTPException(405, message, {"Allow": handler.method.replace("GET", "GET, HEAD")})


def as_json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def name_request(headers: dict[bytes, bytes]) -> bytes:
    """Take over the number that the client gave a request, or draw one."""
    found = headers.get(REQUEST_ID, b"")
    usable = found and len(found) <= MAX_LOGGED and found.isascii() and found.decode().isprintable()
    return found if usable else os.urandom(16).hex().encode()
