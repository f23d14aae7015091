"""Connections that send too much, too little, or nothing any more."""

import json
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

ROW = {"weight": 120.5, "size": 9, "colour": "colour2"}
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: a\r\n"


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def read_all(client: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET /health HTTP/1.1\r\nX-Long: ", b"x" * 10_000),
        (b"GET /health HTTP/1.1\r\n", b"X-Many: x\r\n" * 1000),
        (b"GET /", b"x" * 10_000),
        (HEALTH, HEALTH * 300),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n \r\n0\r\n", b"X-Trailer: x\r\n" * 1000),
    ],
    ids=["one header", "many headers", "path", "pipeline", "trailers"],
)
def test_a_connection_that_sends_without_end_is_closed(server: Any, start: bytes, more: bytes) -> None:
    before = psutil.Process(server.process.pid).memory_info().rss
    # Some hundred megabytes.
    with connect(server.port) as client, pytest.raises((ConnectionResetError, BrokenPipeError)):  # noqa: PT012
        for part in (start, *[more] * 20_000):
            client.sendall(part)
    assert server.get("/health").status_code == 200
    assert psutil.Process(server.process.pid).memory_info().rss - before < 50e6
    assert "Traceback" not in server.log.read_text()


def test_requests_at_once_on_one_connection_are_answered_in_order(server: Any) -> None:
    with connect(server.port) as client:
        asked = [b"GET %s HTTP/1.1\r\nHost: a\r\n" % path for path in [b"/health", b"/ready"] * 10]
        client.sendall(b"\r\n".join(asked) + b"Connection: close\r\n\r\n")
        answers = re.findall(rb'"status":"(\w+)"', read_all(client))
    assert answers == [b"alive", b"ready"] * 10


@pytest.mark.slow
def test_unfinished_request_is_closed_after_silence(bundle: Path, start_command: Any) -> None:
    program = (
        "import runpy; from canopy.serve import server; server.SILENT_SECONDS = 2.0; "
        "runpy.run_module('canopy.serve', run_name='__main__')"
    )
    head = POST + b"Content-Length: 100\r\n\r\n"
    with start_command(sys.executable, "-c", program, f"bundle={bundle}", "port={port}") as server:
        for sent in (b"", b"GET /hea", head + b'{"rows"'):
            with connect(server.port) as client:
                client.sendall(sent)
                started = time.monotonic()
                assert read_all(client) == b""
                assert 1.5 < time.monotonic() - started < 10
        # After a whole request too.
        with connect(server.port) as client:
            client.sendall(HEALTH + head + b'{"rows"')
            assert read_all(client).startswith(b"HTTP/1.1 200")
        # A line's end after an answer is no request.
        with connect(server.port) as client:
            client.sendall(HEALTH + b"\r\n")
            assert read_all(client).startswith(b"HTTP/1.1 200")
        # One that continues, if slowly, is answered.
        body = json.dumps({"rows": [ROW]}).encode().ljust(100)
        with connect(server.port) as client:
            client.sendall(head)
            for start in range(0, 100, 25):
                time.sleep(0.8)
                client.sendall(body[start : start + 25])
            assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_client_that_leaves_is_no_error(start: Any) -> None:
    with start() as server:
        with connect(server.port) as client:
            client.sendall(POST + b"Content-Length: 1000\r\n\r\n{")
            time.sleep(0.3)
        counted = 'canopy_requests_total{path="/predict",status="499"} 1.0'
        for _ in range(50):
            if counted in server.get("/metrics").text:
                break
            time.sleep(0.1)
    assert [line["status"] for line in server.access_log() if line["path"] == "/predict"] == [499]
    assert "Traceback" not in server.log.read_text()
