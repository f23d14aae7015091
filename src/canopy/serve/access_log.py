"""The access log: each request is numbered, counted, and written as a line of JSON."""

import os
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from canopy.serve.metrics import Metrics

REQUEST_ID = b"x-request-id"
# Of a text that a client chose.
MAX_LOGGED = 200


class AccessLog:
    """ASGI application that logs and counts the requests to another one.

    Args:
        app: The other one; it sets `n_rows` in the state of a request.
        paths: Those that are counted by name.
        counters: What counts.
        model: Hash that names the model.
    """

    def __init__(self, app: ASGIApp, *, paths: Collection[str], counters: Metrics, model: str) -> None:
        self._app, self._paths, self._counters, self._model = app, paths, counters, model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = name_request(dict(scope["headers"]))
        state = scope.setdefault("state", {})
        state["n_rows"], status = 0, 500

        async def named_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID, request_id)]
            await send(message)

        try:
            await self._app(scope, receive, named_send)
        finally:
            seconds = time.perf_counter() - started
            path = scope["path"]
            self._counters.count_request(path if path in self._paths else "other", status, seconds)
            line = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "request_id": request_id.decode(),
                "client": (scope.get("client") or ("",))[0][:MAX_LOGGED],
                "method": scope["method"],
                "path": path[:MAX_LOGGED],
                "status": status,
                "ms": round(seconds * 1e3, 3),
                "rows": state["n_rows"],
                "model": self._model,
            }
            # Where it cannot be written, answers are given all the same.
            with suppress(OSError):
                sys.stdout.write(orjson.dumps(line).decode() + "\n")
                # What led to a crash must be in the log.
                sys.stdout.flush()


def name_request(headers: dict[bytes, bytes]) -> bytes:
    """Take over the number that the client gave a request, or draw one."""
    found = headers.get(REQUEST_ID, b"")
    usable = found and len(found) <= MAX_LOGGED and found.isascii() and found.decode().isprintable()
    return found if usable else os.urandom(16).hex().encode()
