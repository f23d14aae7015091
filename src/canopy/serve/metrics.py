"""What a server counts, in the form that Prometheus reads."""

import os
from collections import Counter as Counts

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from canopy.serve.drift import DriftReport

LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)

# prometheus_client shares counts among processes through the folder that this names when it is imported.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """The counters of a server.

    Args:
        class_names: The classes that may be predicted.
    """

    def __init__(self, class_names: list[str]) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "canopy_requests_total", "Requests by path and status.", ["path", "status"], registry=registry
        )
        self._latency = Histogram(
            "canopy_request_seconds", "Time to an answer.", ["path"], buckets=LATENCIES, registry=registry
        )
        self._counted: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._batch = Histogram(
            "canopy_batch_rows", "Rows of a prediction.", buckets=BATCH_SIZES, registry=registry
        )
        predicted = Counter(
            "canopy_predicted_total", "Rows by predicted class.", ["predicted_class"], registry=registry
        )
        self._predicted = [predicted.labels(name) for name in class_names]
        self._drift = Gauge(
            "canopy_drift_index",
            "Population stability index of each column against the training rows.",
            ["column"],
            # Any process gives the index over all of them.
            multiprocess_mode="mostrecent",
            registry=registry,
        )

    def count_request(self, path: str, status: int, seconds: float) -> None:
        # To look up labels takes longer than to count.
        if (path, status) not in self._counted:
            counters = self._requests.labels(path, str(status)), self._latency.labels(path)
            self._counted[path, status] = counters
        requests, latency = self._counted[path, status]
        requests.inc()
        latency.observe(seconds)

    def count_rows(self, predicted: list[int]) -> None:
        """Count the rows of a prediction, by the place of each one's class."""
        self._batch.observe(len(predicted))
        for index, count in Counts(predicted).items():
            self._predicted[index].inc(count)

    def exposition(self, drift: DriftReport) -> bytes:
        """Write all that was counted, in all processes."""
        for column in drift["columns"]:
            if column["index"] is not None:
                self._drift.labels(column["name"]).set(column["index"])
        registry = self._registry
        if MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
