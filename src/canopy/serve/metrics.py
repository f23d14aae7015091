"""What a server counts, in the form that Prometheus reads."""

import os
from collections import Counter as Counts
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)

# prometheus_client shares counts among processes through the folder that this names.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """The counters of a server.

    Args:
        class_names: The classes that may be predicted.
    """

    def __init__(self, class_names: list[str]) -> None:
        self._registry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter(
            "canopy_requests_total", "Requests by path and status.", ["path", "status"], **options
        )
        self.latency = Histogram(
            "canopy_request_seconds",
            "Time from a request to its answer.",
            ["path"],
            buckets=LATENCIES,
            **options,
        )
        self.batch = Histogram("canopy_batch_rows", "Rows of a prediction.", buckets=BATCH_SIZES, **options)
        predicted = Counter(
            "canopy_predicted_total", "Rows by predicted class.", ["predicted_class"], **options
        )
        self.predicted = [predicted.labels(name) for name in class_names]
        self._known: dict[tuple[str, int], Any] = {}

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        key = (path, status)
        children = self._known.get(key)
        if children is None:
            children = (self.requests.labels(path, str(status)), self.latency.labels(path))
            self._known[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def count_rows(self, predicted: list[int]) -> None:
        """Count the rows of a prediction, by the place of each one's class."""
        self.batch.observe(len(predicted))
        for index, count in Counts(predicted).items():
            self.predicted[index].inc(count)

    def exposition(self, drift: dict[str, Any]) -> bytes:
        """Write all that was counted, in all processes.

        Args:
            drift: What `DriftMonitor.report` tells.
        """
        registry = self._registry
        if MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        indices = CollectorRegistry()
        indices.register(DriftIndices(drift))
        return generate_latest(registry) + generate_latest(indices)


class DriftIndices(Collector):
    """The indices of all columns, which are computed when they are asked for.

    Args:
        drift: What `DriftMonitor.report` tells.
    """

    def __init__(self, drift: dict[str, Any]) -> None:
        self._drift = drift

    def collect(self) -> Iterator[Metric]:
        """Give what Prometheus reads."""
        indices = GaugeMetricFamily(
            "canopy_drift_index",
            "Population stability index of each column against the training rows.",
            labels=["column"],
        )
        for column in self._drift["columns"]:
            if column["index"] is not None:
                indices.add_metric([column["name"]], column["index"])
        yield indices


def share_among_processes(folder: Path) -> None:
    """Let processes that this one starts count together; before they import this module."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[MULTIPROCESS] = str(folder)
