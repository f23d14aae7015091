"""How the server runs: keys, logs, counters, several processes, its end."""

import asyncio
import json
import os
import re
import shutil
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

ROW = {"weight": 120.5, "size": 9, "colour": "colour2"}
ROWS = {"rows": [ROW] * 3}
KEY = {"X-API-Key": "geheim"}


@pytest.mark.slow
def test_a_key_is_asked_for(start: Any) -> None:
    with start(variables={"CANOPY_API_KEY": "geheim"}) as server:
        assert server.get("/health").status_code == 200
        for headers in ({}, {"X-API-Key": "other"}, {"X-API-Key": ""}):
            answer = server.post("/predict", ROWS, headers=headers)
            assert answer.status_code == server.get("/drift", headers=headers).status_code == 401
            assert "X-API-Key must hold this server's key" in answer.json()["error"]
        assert server.post("/predict", ROWS, headers=KEY).status_code == 200
        folder = server.log.with_suffix("")
    written = [path.read_text() for path in (server.log, *folder.rglob("*")) if path.is_file()]
    assert len(written) > 2
    assert not any("geheim" in text for text in written)


def test_pages_of_other_origins_may_ask_if_the_option_names_them(start: Any, server: Any) -> None:
    origin, allowed = {"Origin": "https://app.example.org"}, "access-control-allow-origin"
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    assert allowed not in server.get("/health", headers=origin).headers
    options = "cors_origins=[https://app.example.org,http://localhost:3000]"
    with start(options, variables={"CANOPY_API_KEY": "geheim"}) as other:
        # A browser asks first, without the key.
        answer = requests.options(f"{other.url}/predict", headers={**origin, **ask}, timeout=10)
        assert (answer.status_code, answer.headers[allowed]) == (200, origin["Origin"])
        for headers, status in ((origin, 401), ({**origin, **KEY}, 200)):
            answer = other.post("/predict", ROWS, headers=headers)
            assert (answer.status_code, answer.headers[allowed]) == (status, origin["Origin"])
            assert "X-Rejected-Rows" in answer.headers["access-control-expose-headers"]
        answer = other.get("/health", headers={"Origin": "https://other.example.org"})
        assert allowed not in answer.headers


def test_requests_and_rows_are_logged_and_counted(start: Any) -> None:
    with start() as server:
        assert all(column["index"] is None for column in server.get("/drift").json()["columns"])
        named = server.post("/predict", {"rows": [ROW] * 300}, headers={"X-Request-ID": "mine"})
        assert named.headers["x-request-id"] == "mine"
        assert len(server.post("/predict", {"rows": [{}]}).headers["x-request-id"]) == 32
        server.get("/nothing")
        text, model = server.get("/metrics").text, server.get("/ready").json()["model"]
        for path, status in (("/predict", 200), ("/predict", 422), ("other", 404)):
            assert f'canopy_requests_total{{path="{path}",status="{status}"}} 1.0' in text
        predicted = named.json()["predictions"][0]["class"]
        assert f'canopy_predicted_total{{predicted_class="{predicted}"}} 300.0' in text
        for name in ("batch_rows_sum 300.0", "request_seconds_bucket", 'drift_index{column="colour"}'):
            assert f"canopy_{name}" in text
        report = server.get("/drift").json()
        columns = {column["name"]: column for column in report["columns"]}
        assert (report["n_rows"], [*columns]) == (300, ["weight", "size", "colour", "kind"])
        # All rows have one colour, of three that were equally frequent.
        assert columns["colour"]["change"] == "large"
        assert sum(columns["size"]["found"]) == pytest.approx(1)
    first, second = (line for line in server.access_log() if line["path"] == "/predict")
    assert (first["request_id"], first["status"], first["rows"], first["model"]) == ("mine", 200, 300, model)
    assert (second["status"], second["rows"]) == (422, 0)
    assert first["ms"] > 0


def children(server: Any) -> list[int]:
    """Find the processes that answer."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        # One that has just died has no command line.
        with suppress(psutil.Error):
            if "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(start: Any, bundle: Path, tmp_path: Path) -> None:
    """The new one has the model that the server started with, and adds to the counts of the dead one."""
    copy = shutil.copytree(bundle, tmp_path / "copy")
    with start(f"bundle={copy}", "workers=2") as server:
        before = children(server)
        assert len(before) == 2
        shutil.rmtree(copy)
        assert all(server.post("/predict", {"rows": [ROW] * 10}).ok for _ in range(40))
        time.sleep(0.5)
        os.kill(before[0], signal.SIGKILL)
        n_answered = 0
        for _ in range(100):
            # What the dead process had accepted.
            with suppress(requests.ConnectionError):
                n_answered += server.post("/predict", {"rows": [ROW]}).ok
            time.sleep(0.02)
        assert n_answered >= 98
        for _ in range(200):
            after = children(server)
            if len(after) == 2 and before[0] not in after:
                break
            time.sleep(0.1)
        assert len(after) == 2
        # The counts of the living come a moment later.
        time.sleep(0.5)
        assert server.get("/drift").json()["n_rows"] == 400 + n_answered
        assert "canopy_batch_rows_count 1" in server.get("/metrics").text
    assert server.process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_servers_have_their_own_folders_and_remove_those_of_killed_ones(start: Any, tmp_path: Path) -> None:
    def folders() -> list[Path]:
        return [*tmp_path.glob(".canopy-serve.*")]

    environment = {"TMPDIR": str(tmp_path)}
    with start(variables=environment):
        assert folders() == []
        # ONNX Runtime's, for what it sends to its makers.
        assert not (tmp_path / ".ses").exists()
    with start("workers=2", variables=environment) as killed:
        killed.process.kill()
    (left,) = folders()
    with start("workers=2", variables=environment) as server:
        (own,) = folders()
        assert own != left
        with start("workers=2", variables=environment):
            assert len(folders()) == 2
        assert folders() == [own]
        assert server.get("/metrics").ok
    assert folders() == []


def test_what_is_in_flight_is_finished(start: Any) -> None:
    text = "size,weight,colour1,colour2,colour3\n" + "9,120.5,0,1,0\n" * 60_000
    answers: list[requests.Response] = []
    with start() as server:
        thread = threading.Thread(target=lambda: answers.append(server.post("/predict/csv", text)))
        thread.start()
        time.sleep(0.15)
        server.process.send_signal(signal.SIGINT)
        thread.join(60)
        assert server.process.wait(60) == 128 + signal.SIGINT
    assert "Traceback" not in server.log.read_text()
    assert (answers[0].status_code, answers[0].text.count("\n")) == (200, 60_001)


def test_clients_that_come_at_once_are_answered_in_turn(start: Any) -> None:
    """None waits until others have been answered many times, as it would for its connection's turn."""
    n_clients, n_requests = 64, 6
    body = json.dumps({"rows": [ROW] * 50}).encode()
    request = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    order: list[int] = []

    async def ask(port: int, ready: asyncio.Barrier) -> None:
        await ready.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(n_requests):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
            order.append(number)
        writer.close()

    async def ask_all(port: int) -> None:
        ready = asyncio.Barrier(n_clients)
        await asyncio.gather(*(ask(port, ready) for _ in range(n_clients)))

    with start() as server:
        asyncio.run(ask_all(server.port))
    firsts = [place for place, number in enumerate(order) if number == 0]
    assert len(firsts) == n_clients
    # With one connection accepted for each round of answers, the last first one would come near the end.
    assert firsts[-1] < 3 * n_clients


def test_answers_do_not_need_a_writable_log(start: Any) -> None:
    with Path("/dev/full").open("w") as full, start(stdout=full) as server:
        assert all(server.get("/health").ok for _ in range(20))
    assert "Traceback" not in server.log.read_text()
