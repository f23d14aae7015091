"""The application of one process, without a socket."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from canopy.serve.gate import Gate, Handler
from canopy.serve.metrics import Metrics
from canopy.serve.settings import Settings

SETTINGS = Settings(
    bundle="bundle",
    host="127.0.0.1",
    port=0,
    workers=1,
    n_threads=1,
    max_body_bytes=100,
    max_rows=1,
    stop_seconds=1,
)


def ask(handler: Any, sent: list[MutableMapping[str, Any]], **scope: Any) -> None:
    """Ask an application with two paths, and collect what it sends."""

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    handlers = {
        "/predict": Handler("POST", handler, is_open=False),
        "/state": Handler("GET", handler, is_open=True),
    }
    gate = Gate(handlers, settings=SETTINGS, counters=Metrics([]), model="model")
    asked = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b""}
    asyncio.run(gate({**asked, **scope}, receive, send))


async def answer(request: Request) -> Response:
    return Response(f"{len(await request.body())} bytes")


async def fail(_: Request) -> Response:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("scope", "status", "body"),
    [
        ({}, 200, b"0 bytes"),
        ({"path": "/other"}, 404, b"got POST /other"),
        ({"method": "GET"}, 405, b"got GET /predict"),
        ({"headers": [(b"content-length", b"101")]}, 413, b"at most 100 bytes"),
    ],
)
def test_a_path_is_answered_with_its_method(scope: dict[str, Any], status: int, body: bytes) -> None:
    sent: list[MutableMapping[str, Any]] = []
    ask(answer, sent, **scope)
    assert [message.get("status") for message in sent] == [status, None]
    assert body in sent[1]["body"]


@pytest.mark.parametrize(("path", "allowed"), [("/predict", b"POST"), ("/state", b"GET, HEAD")])
def test_the_methods_of_a_path_are_told(path: str, allowed: bytes) -> None:
    sent: list[MutableMapping[str, Any]] = []
    ask(answer, sent, path=path, method="PUT")
    assert sent[0]["status"] == 405
    assert (b"allow", allowed) in sent[0]["headers"]


def test_an_unexpected_error_is_answered_and_logged() -> None:
    sent: list[MutableMapping[str, Any]] = []
    with pytest.raises(ZeroDivisionError):
        ask(fail, sent)
    assert sent[0]["status"] == 500
    assert sent[1]["body"] == b"Internal Server Error"
