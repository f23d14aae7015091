"""What answers requests: predictions, what moved them, what the model is, how it fares."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orjson
from anyio import CapacityLimiter, to_thread
from fastapi import Request
from fastapi.responses import Response
from numpy.typing import NDArray
from starlette.exceptions import HTTPException

from canopy.bundle.manifest import ONNX_FILE
from canopy.bundle.scorer import Scorer
from canopy.serve.body import decompress, read_body, refuse_repeated_keys, rows_of
from canopy.serve.csv_rows import rows_from_csv
from canopy.serve.drift import DriftMonitor
from canopy.serve.explain import Explainer
from canopy.serve.metrics import Metrics
from canopy.serve.rows import RowReader
from canopy.serve.settings import Settings

# Larger bodies take longer than a request should keep others waiting: a thread reads and predicts them.
MAX_BYTES_IN_LOOP = 256 * 1024

# Large bodies that are worked on at once: each takes many times its size in memory.
MAX_THREADS = 2

# What a body must be.
JSON, CSV = 'JSON, {"rows": [{"column": value, ...}]}', "CSV in UTF-8 with a header line"

# Rows that `/explain` reads to say that they are too many.
MAX_EXPLAINED = 100

T = TypeVar("T")

# The longest that a predicted row waits to be counted.
DRIFT_SECONDS = 0.25


class Predicted(NamedTuple):
    """Rows that have been predicted.

    Attributes:
        rows: Checked raw rows, shape (B, F).
        best: Place of the likeliest class of each, shape (B,).
        response: What the client is answered.
    """

    rows: NDArray[np.float64]
    best: NDArray[np.int64]
    response: Response


class Service:
    """What answers requests, one method for each path.

    Args:
        settings: The server's.

    Attributes:
        manifest: What the served bundle is.
        name: Beginning of the hash of its graph.
        counters: What is counted for Prometheus.
    """

    def __init__(self, settings: Settings) -> None:
        self._scorer = Scorer(settings.bundle, n_threads=settings.n_threads)
        self.manifest = manifest = self._scorer.manifest
        self.name = manifest.files[ONNX_FILE][:12]
        self._values, self._classes = [*manifest.table.classes], [*manifest.table.classes.values()]
        self.counters = Metrics(self._classes)
        self._max_rows, self._max_body_bytes = settings.max_rows, settings.max_body_bytes
        self._threads: CapacityLimiter | None = None
        self._reader, self._explainer = RowReader(manifest.table), Explainer(self._scorer)
        shared = None if settings.shared_folder is None else Path(settings.shared_folder) / "drift"
        self._drift = DriftMonitor(manifest, folder=shared, process=str(os.getpid()))
        self._described = orjson.dumps(asdict(manifest), option=orjson.OPT_NON_STR_KEYS)

    async def predict(self, request: Request) -> Response:
        """Predict the classes of one row or of many."""
        return self._count(request, await self._work_on(request, self._predict_json))

    async def predict_csv(self, request: Request) -> Response:
        """Predict the rows of a CSV text with a header line; the answer is CSV as well."""
        work = self._work_on(request, self._predict_csv, kind=CSV, max_bytes_in_loop=0)
        return self._count(request, await work)

    async def explain(self, request: Request) -> Response:
        """Tell what moved the prediction of one row."""
        return await self._work_on(request, self._explain)

    async def model(self) -> Response:
        """Describe the model: its columns with units and ranges, its classes, its scores, its run."""
        return Response(self._described, media_type="application/json")

    async def drift(self) -> Response:
        """Compare the rows that were predicted with the training rows."""
        return as_json(self._drift.report())

    async def health(self) -> Response:
        """Tell that the process lives."""
        return as_json({"status": "alive"})

    async def ready(self) -> Response:
        """Tell that the model is loaded."""
        return as_json({"status": "ready", "model": self.name})

    async def metrics(self) -> Response:
        """Give the counters to Prometheus."""
        text = self.counters.exposition(self._drift.report())
        return Response(text, media_type="text/plain; version=0.0.4")

    def _limit(self, n_rows: int) -> None:
        if n_rows > self._max_rows:
            raise HTTPException(
                413,
                f"A request must have at most {self._max_rows:,} rows; found {n_rows:,}: send fewer at once",
            )

    async def _work_on(
        self,
        request: Request,
        work: Callable[[bytes], T],
        *,
        kind: str = JSON,
        max_bytes_in_loop: int = MAX_BYTES_IN_LOOP,
    ) -> T:
        """Work on the body of a request, on a large or compressed one while others are answered.

        At most as many are worked on at once as there are threads for it.
        """
        body, is_compressed = await read_body(request, kind=kind)
        if not is_compressed and len(body) <= max_bytes_in_loop:
            return work(body)
        if self._threads is None:
            # Of the event loop that runs now.
            self._threads = CapacityLimiter(MAX_THREADS)

        def call() -> T:
            return work(decompress(body, limit=self._max_body_bytes) if is_compressed else body)

        return await to_thread.run_sync(call, limiter=self._threads)

    def _explain(self, body: bytes) -> Response:
        given = rows_of(body, limit=MAX_EXPLAINED)
        if len(given) != 1:
            raise HTTPException(422, f"rows must be one row to explain; found {len(given)}")
        (row,) = self._reader.from_mappings(given)
        refuse_repeated_keys(body, given)
        probabilities, contributions = self._explainer.explain(row)
        (told,) = self._tell(probabilities[None, :], [int(probabilities.argmax())])
        return as_json({"model": self.name, **told, "contributions": contributions})

    def _predict_json(self, body: bytes) -> Predicted:
        given = rows_of(body, limit=self._max_rows)
        self._limit(len(given))
        rows = self._reader.from_mappings(given)
        refuse_repeated_keys(body, given)
        probabilities = self._scorer.predict(rows)
        best = probabilities.argmax(axis=1)
        told = self._tell(probabilities, best.tolist())
        return Predicted(rows, best, as_json({"model": self.name, "predictions": told}))

    def _predict_csv(self, body: bytes) -> Predicted:
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise HTTPException(400, f"The body must be CSV in UTF-8; found {error.reason}") from error
        rows = rows_from_csv(text, self._reader, check_count=self._limit)
        probabilities = self._scorer.predict(rows)
        best = probabilities.argmax(axis=1)
        table = write_csv(probabilities, best.tolist(), self._values, self._classes)
        return Predicted(rows, best, Response(table, media_type="text/csv; charset=utf-8"))

    def _count(self, request: Request, predicted: Predicted) -> Response:
        """Count rows that have been predicted, in the event loop's thread, and give the answer."""
        rows, best, response = predicted
        request.state.n_rows = len(rows)
        self.counters.count_rows(best.tolist())
        if self._drift.add(rows, best):
            # Other processes shall tell of them too.
            asyncio.get_running_loop().call_later(DRIFT_SECONDS, self._drift.count)
        return response

    def _tell(self, probabilities: NDArray[np.float32], best: list[int]) -> list[dict[str, Any]]:
        """Give each row's likeliest class, as value and name, and the probabilities by name."""
        values, classes = self._values, self._classes
        return [
            {"label": values[index], "class": classes[index], "probabilities": dict(zip(classes, row))}  # noqa: B905
            for index, row in zip(best, probabilities.tolist(), strict=True)
        ]


def as_json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def write_csv(
    probabilities: NDArray[np.float32], best: list[int], values: list[Any], names: list[str]
) -> str:
    """Write predictions as `src/predict.py` does: label, class, probability of each class."""
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    labels = ['"' + value.replace('"', '""') + '"' if isinstance(value, str) else value for value in values]
    header = ",".join(["label", "class", *(f'"probability_{name[1:]}' for name in quoted)])
    lines = [
        f"{labels[index]},{quoted[index]}," + ",".join(f"{value:.7g}" for value in row)
        for index, row in zip(best, probabilities.tolist(), strict=True)
    ]
    return "\n".join([header, *lines]) + "\n"
