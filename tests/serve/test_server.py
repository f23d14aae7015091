"""How the server runs: keys, logs, counters, several processes, its end."""

import asyncio
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from canopy.serve.openapi import CSV_HEADERS

ROW = {"weight": 120.5, "size": 9, "colour": "colour2"}
Start = Callable[..., Any]


@pytest.mark.slow
def test_a_key_is_asked_for(start: Start) -> None:
    with start(environment={"CANOPY_API_KEY": "geheim"}) as server:
        assert server.get("/health").status_code == 200
        for headers in ({}, {"X-API-Key": "other"}, {"X-API-Key": ""}):
            answer = server.post("/predict", {"rows": [ROW]}, headers=headers)
            assert answer.status_code == 401
            assert "X-API-Key must hold this server's key" in answer.json()["error"]
            assert server.get("/drift", headers=headers).status_code == 401
        assert server.post("/predict", {"rows": [ROW]}, headers={"X-API-Key": "geheim"}).status_code == 200
        folder = server.log.with_suffix("")
    written = [path.read_text() for path in (server.log, *folder.rglob("*")) if path.is_file()]
    assert len(written) > 2
    assert not any("geheim" in text for text in written)


ORIGIN = "https://app.example.org"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-encoding,content-type,x-api-key,x-request-id",
}


def cors_of(answer: requests.Response) -> dict[str, str]:
    return {
        name.lower(): value for name, value in answer.headers.items() if name.lower().startswith("access")
    }


def test_pages_of_other_origins_may_ask_if_the_option_names_them(start: Start) -> None:
    options = f"cors_origins=[{ORIGIN},http://localhost:3000]"
    with start(options, "workers=2", environment={"CANOPY_API_KEY": "geheim"}) as server:
        # A browser asks first, without the key.
        for path in ("/predict", "/drift"):
            answer = requests.options(
                f"{server.url}{path}", headers={"Origin": ORIGIN, **PREFLIGHT}, timeout=10
            )
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == ORIGIN
        for headers, status in (({}, 401), ({"X-API-Key": "geheim"}, 200)):
            answer = server.post("/predict", {"rows": [ROW]}, headers={"Origin": ORIGIN, **headers})
            assert answer.status_code == status
            assert cors_of(answer) == {
                "access-control-allow-origin": ORIGIN,
                "access-control-expose-headers": ", ".join(["X-Request-ID", *CSV_HEADERS]),
            }
            assert answer.headers["vary"] == "Origin"
        # From elsewhere, or no browser at all.
        stranger = {"Origin": "https://other.example.org", "X-API-Key": "geheim"}
        refused = requests.options(f"{server.url}/predict", headers={**stranger, **PREFLIGHT}, timeout=10)
        assert (refused.status_code, refused.text) == (400, "Disallowed CORS origin")
        for headers in (stranger, {"X-API-Key": "geheim"}):
            answer = server.post("/predict", {"rows": [ROW]}, headers=headers)
            assert answer.status_code == 200
            assert "access-control-allow-origin" not in cors_of(answer)
    assert ["OPTIONS", 200] in [[line["method"], line["status"]] for line in server.access_log()]


def test_pages_of_all_origins_may_ask_if_the_option_says_so(start: Start) -> None:
    with start("cors_origins=[*]") as server:
        assert (
            cors_of(server.get("/health", headers={"Origin": ORIGIN}))["access-control-allow-origin"] == "*"
        )


def test_pages_of_other_origins_may_not_ask_by_default(server: Any) -> None:
    headers = {"Origin": ORIGIN, **PREFLIGHT}
    assert requests.options(f"{server.url}/predict", headers=headers, timeout=10).status_code == 405
    assert cors_of(server.post("/predict", {"rows": [ROW]}, headers=headers)) == {}


def test_each_request_is_logged_and_counted(start: Start) -> None:
    with start() as server:
        named = server.post("/predict", {"rows": [ROW] * 3}, headers={"X-Request-ID": "mine"})
        assert named.headers["x-request-id"] == "mine"
        other = server.post("/predict", {"rows": [{}]}, headers={"X-Request-ID": "x" * 1000})
        assert len(other.headers["x-request-id"]) == 32
        server.get("/nothing")
        text = server.get("/metrics").text
        assert 'canopy_requests_total{path="/predict",status="200"} 1.0' in text
        assert 'canopy_requests_total{path="/predict",status="422"} 1.0' in text
        assert 'canopy_requests_total{path="other",status="404"} 1.0' in text
        assert "canopy_batch_rows_sum 3.0" in text
        assert "canopy_request_seconds_bucket" in text
        predicted = named.json()["predictions"][0]["class"]
        assert f'canopy_predicted_total{{predicted_class="{predicted}"}} 3.0' in text
        model = server.get("/ready").json()["model"]
    lines = [line for line in server.access_log() if line["path"] == "/predict"]
    assert [(line["status"], line["rows"], line["model"]) for line in lines] == [
        (200, 3, model),
        (422, 0, model),
    ]
    assert lines[0]["request_id"] == "mine"
    assert lines[0]["ms"] > 0


def test_drift_is_told_by_column(start: Start) -> None:
    with start() as server:
        early = server.get("/drift").json()
        assert early["n_rows"] == 0
        assert all(column["index"] is None for column in early["columns"])
        assert "canopy_drift_index{" not in server.get("/metrics").text
        server.post("/predict", {"rows": [ROW] * 300})
        report = server.get("/drift").json()
        assert report["n_rows"] == 300
        columns = {column["name"]: column for column in report["columns"]}
        assert [*columns] == ["weight", "size", "colour", "kind"]
        # All rows have one colour, of three that were equally frequent.
        assert columns["colour"]["change"] == "large"
        assert sum(columns["size"]["found"]) == pytest.approx(1)
        assert 'canopy_drift_index{column="colour"}' in server.get("/metrics").text


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
def test_a_worker_that_is_killed_is_replaced(start: Start) -> None:
    with start("workers=2") as server:
        before = children(server)
        assert len(before) == 2
        for _ in range(40):
            assert requests.post(f"{server.url}/predict", json={"rows": [ROW] * 10}, timeout=10).ok
        time.sleep(0.5)
        os.kill(before[0], signal.SIGKILL)
        n_failed = 0
        for _ in range(100):
            try:
                n_failed += not requests.post(f"{server.url}/predict", json={"rows": [ROW]}, timeout=10).ok
            except requests.ConnectionError:
                # What the dead process had accepted.
                n_failed += 1
            time.sleep(0.02)
        assert n_failed <= 2
        for _ in range(200):
            after = children(server)
            if len(after) == 2 and before[0] not in after:
                break
            time.sleep(0.1)
        assert len(after) == 2
        # The counts of the dead process stay; those of the living come a moment later.
        time.sleep(0.5)
        assert server.get("/drift").json()["n_rows"] == 400 + 100 - n_failed
        assert "canopy_batch_rows_count 1" in server.get("/metrics").text


def test_what_is_in_flight_is_finished(start: Start) -> None:
    n_rows = 60_000
    text = "size,weight,colour1,colour2,colour3\n" + "9,120.5,0,1,0\n" * n_rows
    answers: list[requests.Response] = []
    with start() as server:
        thread = threading.Thread(target=lambda: answers.append(server.post("/predict/csv", text)))
        thread.start()
        time.sleep(0.15)
        server.process.send_signal(signal.SIGTERM)
        thread.join(60)
        assert server.process.wait(60) == 128 + signal.SIGTERM
    assert answers[0].status_code == 200
    assert answers[0].text.count("\n") == n_rows + 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stopped_server_leaves_nothing(start: Start, tmp_path: Path, workers: int) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with start(f"workers={workers}", environment={"TMPDIR": str(scratch)}) as server:
        assert server.post("/predict", {"rows": [ROW]}).ok
        assert len(list(scratch.glob("canopy-serve-*"))) == 1
    assert list(scratch.glob("canopy-serve-*")) == []


def test_clients_that_come_at_once_are_answered_in_turn(start: Start) -> None:
    """None waits until others have been answered many times, as it would for its connection's turn."""
    n_clients, n_requests = 64, 6
    body = json.dumps({"rows": [ROW] * 50}).encode()
    request = (
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    ) + body
    order: list[int] = []

    async def ask(client: int, port: int, ready: asyncio.Barrier) -> None:
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
        await asyncio.gather(*(ask(client, port, ready) for client in range(n_clients)))

    with start() as server:
        asyncio.run(ask_all(server.port))
    firsts = [place for place, number in enumerate(order) if number == 0]
    assert len(firsts) == n_clients
    # With one connection accepted for each round of answers, the last first one would come near the end.
    assert firsts[-1] < 3 * n_clients


def ask_until_answered(url: str) -> requests.Response:
    """Ask until a new process answers."""
    for _ in range(200):
        try:
            return requests.get(url, timeout=10)
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError(f"{url} was not answered")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_bundle_that_changes_is_served_as_it_was(
    start: Start, bundle: Path, tmp_path: Path, workers: int
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    with start(f"bundle={copy}", f"workers={workers}") as server:
        model = server.get("/ready").json()["model"]
        shutil.rmtree(copy)
        # Until none is left that was there when the bundle was.
        for process in children(server) if workers > 1 else []:
            os.kill(process, signal.SIGKILL)
            for _ in range(200):
                if len(after := children(server)) == workers and process not in after:
                    break
                time.sleep(0.1)
            else:
                raise AssertionError(server.log.read_text())
        answer = ask_until_answered(f"{server.url}/ready")
        assert answer.json()["model"] == model
        assert ask_until_answered(f"{server.url}/drift").ok
        assert "Traceback" not in server.log.read_text()


def test_no_process_outlives_the_one_that_started_it(start: Start) -> None:
    with start("workers=2") as server:
        found = [psutil.Process(pid) for pid in children(server)]
        server.process.kill()
        _, alive = psutil.wait_procs(found, timeout=20)
        assert alive == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_without_a_word_of_python(
    start: Start, workers: int, number: signal.Signals
) -> None:
    with start(f"workers={workers}") as server:
        server.process.send_signal(number)
        assert server.process.wait(60) == 128 + number
        assert "Traceback" not in server.log.read_text()


def test_answers_do_not_need_a_writable_log(start: Start) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        with start(output=full) as server, requests.Session() as session:
            answers = [session.get(f"{server.url}/health", timeout=5) for _ in range(20)]
        assert all(answer.ok and answer.json() == {"status": "alive"} for answer in answers)
    assert "Traceback" not in server.log.read_text()
