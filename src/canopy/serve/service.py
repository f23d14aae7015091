"""What answers requests: predictions, feature contributions, what the model is, drift."""

import gzip
import io
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
from anyio import CapacityLimiter, to_thread
from numpy import int64
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from canopy.export.manifest import ONNX_FILE
from canopy.export.scorer import Scorer
from canopy.prepare.preprocessor import Inputs
from canopy.schema.columns import Model
from canopy.serve.csv_rows import read_csv
from canopy.serve.drift import DriftMonitor
from canopy.serve.explain import Explainer
from canopy.serve.metrics import Metrics
from canopy.serve.openapi import ON_ERROR
from canopy.serve.problems import MAX_PROBLEMS, RowsRefused, first_problems
from canopy.serve.rows import MAX_SHOWN, RowReader, parse_rows

# Larger bodies take longer than a request should keep others waiting: a thread reads and predicts them.
MAX_BYTES_IN_LOOP = 256 * 1024
# Large bodies that are worked on at once: each takes many times its size in memory.
MAX_THREADS = 2

T = TypeVar("T")
# Rows, index of the group that each is counted in, and the answer to the client.
Predicted = tuple[Inputs, NDArray[int64], Response]
FewProcesses = Annotated[int, Field(ge=1, le=256)]
Text = Annotated[str, Field(min_length=1)]
# What a browser names the server of a page by: scheme, host and port.
Origin = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/\s*]+)$")]


class Settings(Model):
    """Settings of a server; configs/serve.yaml has their defaults and meanings."""

    bundle: Text
    host: Text
    port: Annotated[int, Field(ge=0, le=65535)]
    workers: FewProcesses
    n_threads: FewProcesses
    max_body_bytes: PositiveInt
    max_rows: PositiveInt
    stop_seconds: PositiveInt
    cors_origins: tuple[Origin, ...] = ()


class Service:
    """What answers requests, one method for each path."""

    def __init__(self, settings: Settings, *, shared: Path | None = None) -> None:
        self._settings = settings
        self._scorer = Scorer(settings.bundle, n_threads=settings.n_threads)
        self.manifest = manifest = self._scorer.manifest
        # The beginning of the hash of the graph.
        self.name = manifest.files[ONNX_FILE][:12]
        self._answers = self._scorer.answers
        self.counters = Metrics(self._answers.groups)
        self._threads = CapacityLimiter(MAX_THREADS)
        self._reader = RowReader(manifest.table, manifest.preprocessor)
        self._explainer = Explainer(self._scorer)
        if manifest.table.datetime:
            # What reads times; the first request would wait for it.
            import pandas  # noqa: F401
        self._drift = DriftMonitor(manifest, self._answers, folder=shared and shared / "drift")
        self._described = orjson.dumps(manifest.model_dump(mode="json"))

    async def predict(self, request: Request) -> Response:
        """Predict one row or many."""
        return self._count(request, await self._work_on(request, self._predict_json))

    async def predict_csv(self, request: Request) -> Response:
        """Predict the rows of a CSV text with a header line, in the table's dialect or with commas.

        Further columns are ignored. If rows have invalid values, `on_error=reject_file` refuses all;
        `reject_row` predicts the others, and the answer has a line for each row, with reasons in `problem`.
        """
        on_error = request.query_params.get("on_error", ON_ERROR[0])
        if on_error not in ON_ERROR:
            raise HTTPException(422, f"on_error must be {' or '.join(ON_ERROR)}; got {on_error[:MAX_SHOWN]}")
        work = partial(self._predict_csv, reject_row=on_error == "reject_row")
        return self._count(request, await self._work_on(request, work, max_bytes_in_loop=0))

    async def explain(self, request: Request) -> Response:
        """Give the feature contributions to the prediction of one row."""
        return await self._work_on(request, self._explain)

    async def model(self, _: Request) -> Response:
        """Describe the model: its columns with units and ranges, its classes, its scores, its run."""
        return Response(self._described, media_type="application/json")

    async def drift(self, _: Request) -> Response:
        """Compare the rows that were predicted with the training rows."""
        return as_json(self._drift.report())

    async def health(self, _: Request) -> Response:
        """Report that the process lives."""
        return as_json({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        """Report that the model is loaded."""
        return as_json({"status": "ready", "model": self.name})

    async def metrics(self, _: Request) -> Response:
        """Give the counters to Prometheus."""
        text = self.counters.exposition(self._drift.report())
        return Response(text, media_type="text/plain; version=0.0.4")

    async def _work_on(
        self, request: Request, work: Callable[[bytes], T], *, max_bytes_in_loop: int = MAX_BYTES_IN_LOOP
    ) -> T:
        """Work on the body of a request, on a large or compressed one while others are answered."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise HTTPException(415, f"The Content-Encoding must be gzip, or none; got {encoding[:80]}")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            self._check_size(body)
        if not body or body.isspace():
            raise HTTPException(400, "The body must hold rows; got an empty body")
        if encoding == "identity" and len(body) <= max_bytes_in_loop:
            return work(bytes(body))

        def call() -> T:
            return work(self._decompress(body) if encoding == "gzip" else bytes(body))

        return await to_thread.run_sync(call, limiter=self._threads)

    def _decompress(self, body: bytearray) -> bytes:
        try:
            content = gzip.GzipFile(fileobj=io.BytesIO(body)).read(self._settings.max_body_bytes + 1)
        except (OSError, EOFError, zlib.error) as error:
            reason = f"The body must be gzip data, as Content-Encoding says; got {error}"
            raise HTTPException(400, reason) from error
        self._check_size(content)
        return content

    def _check_size(self, body: bytes | bytearray) -> None:
        if len(body) > (limit := self._settings.max_body_bytes):
            raise HTTPException(413, f"The body must be at most {limit:,} bytes: send fewer rows at once")

    def _explain(self, body: bytes) -> Response:
        given = parse_rows(body, max_rows=1)
        predictions, contributions = self._explainer.explain(self._reader.read(given))
        (reported,) = self._answers.report(predictions[None, :])
        return as_json({"model": self.name, **reported, "contributions": contributions})

    def _predict_json(self, body: bytes) -> Predicted:
        rows = self._reader.read(parse_rows(body, max_rows=self._settings.max_rows))
        predictions = self._scorer.predict(rows)
        answer = as_json({"model": self.name, "predictions": self._answers.report(predictions)})
        return rows, self._answers.group(predictions), answer

    def _predict_csv(self, body: bytes, *, reject_row: bool) -> Predicted:
        found = read_csv(self._decode(body), self._reader, max_rows=self._settings.max_rows)
        if found.parsed.violations and not reject_row:
            raise RowsRefused(first_problems(found.parsed.violations))
        rows = self.manifest.preprocessor.inputs(found.parsed.valid_rows())
        predictions = self._scorer.predict(rows)
        table = found.write(predictions, self._answers, all_rows=reject_row)
        headers = {}
        if reject_row:
            headers["X-Rejected-Rows"] = str(found.parsed.rows.num_rows - len(predictions))
        if found.target is not None:
            scores = self._answers.scores(self.manifest.table)
            scores.update(found.parsed.valid_rows()[found.target], predictions)
            headers |= scores.headers() if scores.n_rows else {}
        if ignored := [name[:MAX_SHOWN] for name in found.ignored[:MAX_PROBLEMS]]:
            headers["X-Ignored-Columns"] = json.dumps(ignored)
        response = Response(table, media_type="text/csv; charset=utf-8", headers=headers)
        return rows, self._answers.group(predictions), response

    def _decode(self, body: bytes) -> str:
        encodings = dict.fromkeys(["utf-8", self.manifest.table.file.encoding])
        for encoding in encodings:
            with suppress(UnicodeError):
                return body.decode(encoding)
        raise HTTPException(400, f"The body must be CSV in {' or '.join(encodings)}; got other bytes")

    def _count(self, request: Request, predicted: Predicted) -> Response:
        """Count rows that have been predicted, in the event loop's thread, and give the answer."""
        rows, best, response = predicted
        request.state.n_rows = len(best)
        self.counters.count_rows(best.tolist())
        self._drift.add(rows, best)
        return response


def as_json(content: Any, status: int = 200, headers: Any = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
