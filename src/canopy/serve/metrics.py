"""What a server counts, in the form that Prometheus reads, and its log of requests."""

import os
import sys
import time
from collections import Counter as Counts
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import uuid4

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from canopy.serve.drift import DriftReport

LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)

# prometheus_client shares counts among processes through the folder that this names when it is imported.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
REQUEST_ID = b"x-request-id"
# Of a text that a client chose.
MAX_LOGGED = 200


class Metrics:
    """The counters of a server for the classes that it may predict."""

    def __init__(self, class_names: list[str]) -> None:
        registry = self._registry = CollectorRegistry()
        requests = Counter("canopy_requests_total", "Requests.", ["path", "status"], registry=registry)
        latency = Histogram("canopy_request_seconds", "Time.", ["path"], buckets=LATENCIES, registry=registry)
        # To look up labels takes longer than to count.
        self._counters = cache(lambda path, code: (requests.labels(path, str(code)), latency.labels(path)))
        self._batch = Histogram("canopy_batch_rows", "Rows at once.", buckets=BATCH_SIZES, registry=registry)
        predicted = Counter("canopy_predicted_total", "Rows.", ["predicted_class"], registry=registry)
        self._predicted = [predicted.labels(name) for name in class_names]
        # Any process gives the index over all of them.
        options: Any = {"multiprocess_mode": "mostrecent", "registry": registry}
        self._drift = Gauge("canopy_drift_index", "Population stability index.", ["column"], **options)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        requests, latency = self._counters(path, status)
        requests.inc()
        latency.observe(seconds)

    def count_rows(self, predicted: list[int]) -> None:
        self._batch.observe(len(predicted))
        for index, count in Counts(predicted).items():
            self._predicted[index].inc(count)

    def exposition(self, drift: DriftReport) -> bytes:
        for column in drift.columns:
            if column.index is not None:
                self._drift.labels(column.name).set(column.index)
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry)
        # All that was counted, in all processes.
        MultiProcessCollector(registry := CollectorRegistry())  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class AccessLog:
    """Logs and counts the requests to an ASGI application, which sets `n_rows` in their state."""

    def __init__(self, app: ASGIApp, *, paths: Collection[str], counters: Metrics, model: str) -> None:
        self._app, self._paths, self._counters, self._model = app, paths, counters, model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = dict(scope["headers"]).get(REQUEST_ID, b"")[:MAX_LOGGED] or uuid4().hex.encode()
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
                "request_id": request_id.decode("latin-1"),
                "client": (scope.get("client") or ("",))[0][:MAX_LOGGED],
                "method": scope["method"],
                "path": path[:MAX_LOGGED],
                "status": status,
                "ms": round(seconds * 1e3, 3),
                "rows": state["n_rows"],
                "model": self._model,
            }
            # Where it cannot be written, answers are given all the same; what led to a crash must be in it.
            with suppress(OSError):
                # In one piece, also where the output has no buffer, since several processes write to it.
                sys.stdout.write(f"{orjson.dumps(line).decode()}\n")
                sys.stdout.flush()
