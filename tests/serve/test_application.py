"""The application of one process, without a socket."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from canopy.serve.app import Direct

SCOPE = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b""}


def ask(handler: Any, **scope: Any) -> list[MutableMapping[str, Any]]:
    """Give what the application sends."""
    sent: list[MutableMapping[str, Any]] = []

    async def other(*_: Any) -> None:
        sent.append({"type": "passed on"})

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Direct(other, path="/predict", handler=handler)({**SCOPE, **scope}, receive, send))
    return sent


async def answer(request: Request) -> Response:
    return Response(f"{len(await request.body())} bytes")


async def fail(_: Request) -> Response:
    raise ZeroDivisionError


def test_one_path_is_answered_and_others_are_passed_on() -> None:
    assert [message.get("status") or message.get("body") for message in ask(answer)] == [200, b"0 bytes"]
    for scope in ({"path": "/other"}, {"method": "GET"}, {"type": "lifespan", "path": None}):
        assert ask(answer, **scope) == [{"type": "passed on"}]


def test_an_error_nobody_thought_of_is_answered_and_told() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    direct = Direct(fail, path="/predict", handler=fail)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        asyncio.run(direct(dict(SCOPE), receive, send))
    assert sent[0]["status"] == 500
    assert sent[1]["body"] == b"Internal Server Error"
