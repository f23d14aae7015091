"""The OpenAPI document: requests and answers, from the bundle's manifest."""

import csv
import io
from typing import Annotated, Any, NotRequired

from fastapi import Security
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from canopy.export.manifest import Manifest
from canopy.prepare.preprocessor import OTHER
from canopy.schema.columns import Categorical, Datetime, Numeric
from canopy.serve.drift import DriftReport
from canopy.serve.explain import Contribution
from canopy.serve.problems import Problem
from canopy.serve.rows import as_time, integers_among, words_among
from canopy.tables.convert import null_values
from canopy.tables.parse import LARGEST

# What happens to rows with an invalid value in a CSV body; the first is the default.
ON_ERROR = ("reject_file", "reject_row")
# Examples: a time, and so many categories.
SOME_TIME, MAX_LISTED = "2024-10-04T12:00:00Z", 100

Json = dict[str, Any]
TEXT = {"type": "string"}
# Headers of an answer to CSV.
CSV_HEADERS = {
    "X-Ignored-Columns": "JSON list of columns that the table does not have.",
    "X-Rejected-Rows": "Number of rows that were not predicted.",
    "X-Labelled-Rows": "Number of predicted rows that have a label.",
    "X-Correct-Rows": "Number of these that are predicted correctly, of classes.",
    "X-Mean-Absolute-Error": "Mean absolute error of these, of a numeric target.",
}
Share = Annotated[float, Field(ge=0, le=1)]
Prediction = TypedDict("Prediction", {"label": str, "class": str, "probabilities": dict[str, Share]})


class Number(TypedDict):
    """A number in its unit, and the ends of its interval."""

    predicted: float
    interval: Annotated[list[float], Field(min_length=2, max_length=2)]


class Predictions(TypedDict):
    """Each row's likeliest class, or that by the threshold `decision` of `/model`, as value and name.

    `model` is the beginning of the graph's SHA-256.
    """

    model: str
    predictions: list[Prediction]


class Numbers(TypedDict):
    """Each row's number in its unit and the ends of its interval."""

    model: str
    predictions: list[Number]


class Explanation(Prediction):
    """A prediction and the contribution of each column, the largest first."""

    model: str
    contributions: list[Contribution]


class NumberExplanation(Number):
    """A predicted number and what each column adds to it, the largest first."""

    model: str
    contributions: list[Contribution]


class State(TypedDict):
    """Whether the process lives, and which model it has."""

    status: str
    model: NotRequired[str]


class Refusal(TypedDict):
    """The answer to a client's mistake."""

    error: str
    problems: NotRequired[list[Problem]]


ANSWERS: dict[str, Json] = {
    "/predict": {"model": Predictions},
    "/predict/csv": {
        "content": {"text/csv": {"schema": TEXT}},
        "description": "A header line, then the keys and the prediction of each row.",
        "headers": {name: {"description": text, "schema": TEXT} for name, text in CSV_HEADERS.items()},
    },
    "/explain": {"model": Explanation},
    "/model": {"content": {"application/json": {"schema": {"type": "object"}}}},
    "/drift": {"model": DriftReport},
    "/metrics": {"content": {"text/plain": {"schema": TEXT}}},
    "/health": {"model": State},
    "/ready": {"model": State},
}
# Of a numeric target.
NUMBERS: dict[str, Json] = {"/predict": {"model": Numbers}, "/explain": {"model": NumberExplanation}}
OPEN = ("/health", "/ready")  # without the key


def describe(manifest: Manifest, handlers: Json, *, max_rows: int, with_key: bool) -> Json:
    """Make the document of the paths that handlers answer; the schema of the table is its `x-table`."""
    row = example_row(manifest)
    bodies = {
        "/predict": json_body(manifest, row, max_rows=max_rows),
        "/predict/csv": csv_body(row),
        "/explain": json_body(manifest, row, max_rows=1),
    }
    security = [Security(APIKeyHeader(name="X-API-Key"))] if with_key else []
    answers = ANSWERS if manifest.classes else ANSWERS | NUMBERS
    refused = {"model": Refusal, "description": "A mistake of the client, such as a wrong row or key."}
    routes = [
        APIRoute(
            path,
            handler,
            methods=["POST" if path in bodies else "GET"],
            tags=["predict" if path in bodies else "model"],
            openapi_extra=bodies.get(path),
            dependencies=[] if path in OPEN else security,
            responses={200: answers[path], "4XX": refused},
            # It would describe the answer from its type as well.
            response_class=Response,
        )
        for path, handler in handlers.items()
    ]
    document = get_openapi(
        title="Canopy",
        summary=manifest.table.title,
        description=manifest.table.about,
        version=manifest.versions["canopy"],
        # Next to the document, also where a proxy serves both below a prefix.
        servers=[{"url": "."}],
        routes=routes,
    )
    return {**document, "x-table": manifest.table.model_dump(mode="json", exclude_none=True)}


def json_body(manifest: Manifest, example: Json, *, max_rows: int) -> Json:
    """Describe a body of rows in JSON, each column under its own name."""
    table = manifest.preprocessor.restrict(manifest.table)
    columns: Json = {**table.numeric, **table.categorical, **table.datetime}
    properties = {name: column_schema(manifest, name, column) for name, column in columns.items()}
    for name in (*table.keys, *table.ignored, table.target.column):
        properties[name] = {"description": "Not used."}
    required = [name for name, column in columns.items() if column.missing == "reject"]
    closed = {"type": "object", "additionalProperties": False}
    row = {**closed, "properties": properties, "required": required}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": max_rows}
    schema = {**closed, "properties": {"rows": rows}, "required": ["rows"]}
    content = {"application/json": {"schema": schema, "example": {"rows": [example]}}}
    return {"requestBody": {"required": True, "content": content}}


def column_schema(manifest: Manifest, name: str, column: Numeric | Categorical | Datetime) -> Json:
    nulls = [*null_values(column, manifest.table.file)]
    is_required = column.missing == "reject"
    found: Json
    notes = [column.meaning]
    match column:
        case Numeric():
            low, high = (column.low, column.high) if column.out_of_range == "reject" else (-LARGEST, LARGEST)
            found = {"type": "number", "minimum": max(low, -LARGEST), "maximum": min(high, LARGEST)}
            notes.append(column.unit)
        case Categorical(listed=listed) if listed and (column.one_hot or column.unseen == "reject"):
            others = [] if column.one_hot else [*integers_among([*listed]).values(), *words_among([*listed])]
            found = {"enum": [*listed, *others]}
        case Categorical():
            learnt = manifest.preprocessor.categorical[name].values[:MAX_LISTED]
            found = {"type": ["string", "number", "boolean"], "examples": [*learnt]}
            found |= {"not": {"enum": nulls}} if is_required else {}
        case Datetime():
            found = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
            found["anyOf"] += [] if is_required else [{"enum": nulls}]
            notes.append("ISO 8601" if column.format == "iso" else f"ISO 8601 or {column.format}")
    chosen = {policy: getattr(column, policy, "reject") for policy in ("missing", "out_of_range", "unseen")}
    notes += [f"{policy}: {value}" for policy, value in chosen.items() if value != "reject"]
    described = {"description": ", ".join(filter(None, notes))}
    return {**found, **described} if is_required else {"anyOf": [found, {"type": "null"}], **described}


def example_row(manifest: Manifest) -> Json:
    """Give a row as the training rows are on average."""
    training, preprocessor, row = manifest.training, manifest.preprocessor, Json()
    for name, column in preprocessor.restrict(manifest.table).columns.items():
        if isinstance(column, Numeric):
            mean = float(f"{training.numeric[name]['mean']:.4g}")
            row[name] = min(max(mean, column.low), column.high)
        elif isinstance(column, Categorical):
            shares = {**training.categories[name], OTHER: -1.0}
            row[name] = max(preprocessor.categorical[name].values, key=shares.__getitem__, default=None)
        elif isinstance(column, Datetime):
            row[name] = as_time(SOME_TIME, column.format)
    return row


def csv_body(example: Json) -> Json:
    """Describe a body of rows in CSV."""
    lines = io.StringIO(newline="")
    csv.writer(lines, lineterminator="\n").writerows([example.keys(), example.values()])
    on_error = {"name": "on_error", "in": "query", "schema": {"enum": ON_ERROR, "default": ON_ERROR[0]}}
    content = {"text/csv": {"schema": TEXT, "example": lines.getvalue()}}
    return {"requestBody": {"required": True, "content": content}, "parameters": [on_error]}
