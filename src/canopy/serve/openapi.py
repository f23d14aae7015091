"""What the OpenAPI document says about requests and answers, from the bundle's manifest."""

import csv
import io
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from canopy.export.manifest import Manifest
from canopy.prepare.preprocessor import OTHER
from canopy.schema.columns import Categorical, Datetime, Numeric
from canopy.serve.drift import DriftReport
from canopy.serve.explain import Contribution
from canopy.serve.json_values import integers_among, time_text, words_among
from canopy.serve.problems import Problem
from canopy.tables.convert import null_values
from canopy.tables.parse import LARGEST

# What happens to rows with an invalid value in a CSV body; the first is the default.
ON_ERROR = ("reject_file", "reject_row")
# The keys in `table` of params.yaml for each column; docs/data_sets.md documents it.
POLICIES = ("missing", "out_of_range", "unseen")
# Days since 1970, for an example of a time.
SOME_DAY = 20_000.0
# Categories that are listed one by one.
MAX_LISTED = 100

TEXT = {"type": "string"}
# Headers of an answer to CSV.
CSV_HEADERS = {
    "X-Ignored-Columns": "JSON list of columns that the table does not have.",
    "X-Rejected-Rows": "Number of rows that were not predicted.",
    "X-Labelled-Rows": "Number of predicted rows that have a label.",
    "X-Correct-Rows": "Number of these that are predicted correctly.",
}
# Answers to a client's mistakes.
REFUSALS = {
    400: "The body is empty, no JSON, no text in UTF-8, or no gzip data though it should be.",
    401: "The header X-API-Key does not hold this server's key.",
    413: "The body is too large, or there are too many rows.",
    415: "The body is compressed in another way than by gzip, or a form (multipart/form-data).",
    422: "A row is wrong: `problems` gives its place, the field, the requirement and what was sent.",
}


Share = Annotated[float, Field(ge=0, le=1)]
Prediction = TypedDict("Prediction", {"label": str, "class": str, "probabilities": dict[str, Share]})


class Predictions(TypedDict):
    """Each row's likeliest class, as value and name; `model` is the beginning of the graph's SHA-256."""

    model: str
    predictions: list[Prediction]


class Explanation(Prediction):
    """A prediction and the contribution of each column, the largest first."""

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


def content_of(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe an answer that is not made of fields."""
    return {"content": {kind: {"schema": schema}}}


REFUSED: dict[int | str, Any] = {
    status: {"model": Refusal, "description": text} for status, text in REFUSALS.items()
}
CLOSED: dict[int | str, Any] = {401: REFUSED[401]}
CSV_ANSWER = {
    **content_of("text/csv", TEXT),
    "description": "A header line, then the keys, label, class and probabilities of each row.",
    "headers": {name: {"description": text, "schema": TEXT} for name, text in CSV_HEADERS.items()},
}
# By path and status; those with 401 need the key.
ANSWERS: dict[str, dict[int | str, Any]] = {
    "/predict": {200: {"model": Predictions}, **REFUSED},
    "/predict/csv": {200: CSV_ANSWER, **REFUSED},
    "/explain": {200: {"model": Explanation}, **REFUSED},
    "/model": {200: content_of("application/json", {"type": "object"}), **CLOSED},
    "/drift": {200: {"model": DriftReport}, **CLOSED},
    "/metrics": {200: content_of("text/plain", TEXT), **CLOSED},
    "/health": {200: {"model": State}},
    "/ready": {200: {"model": State}},
}


def row_schema(manifest: Manifest) -> dict[str, Any]:
    """Describe a row: each column with its kind, unit, range, categories and policies."""
    schema = manifest.preprocessor.restrict(manifest.table)
    further: dict[str, Any] = {name: {"description": "Not used."} for name in [*schema.keys, *schema.ignored]}
    further[schema.target.column] = {"description": "The label; not used."}
    columns: dict[str, Any] = {**schema.numeric, **schema.categorical, **schema.datetime}
    properties = {name: column_schema(manifest, name, column) for name, column in columns.items()}
    required = [name for name, column in columns.items() if column.missing == "reject"]
    short = object_of(properties | further, required)
    one_hot = {name: column.one_hot for name, column in schema.categorical.items() if column.one_hot}
    if not one_hot:
        return short
    parts = {
        part: {"type": "integer", "enum": [0, 1], "description": f"{name}: {meaning}"}
        for name, found in one_hot.items()
        for part, meaning in found.items()
    }
    others = {name: found for name, found in properties.items() if name not in one_hot}
    whole = object_of(
        {**others, **parts, **further}, [name for name in required if name in others] + [*parts]
    )
    # Of these alternatives exactly one holds.
    whole["allOf"] = [
        {"oneOf": [{"properties": {part: {"const": 1}}} for part in found]}
        for name, found in one_hot.items()
        if name in required
    ]
    return {"oneOf": [{"title": "One value for each column", **short}, {"title": "All columns", **whole}]}


def column_schema(manifest: Manifest, name: str, column: Numeric | Categorical | Datetime) -> dict[str, Any]:
    """Describe a column of a row."""
    found: dict[str, Any]
    unit = form = ""
    match column:
        case Numeric():
            low, high = (column.low, column.high) if column.out_of_range == "reject" else (-LARGEST, LARGEST)
            found = {"type": ["number"], "minimum": max(low, -LARGEST), "maximum": min(high, LARGEST)}
            unit = column.unit
        case Categorical():
            found = describe_categories(manifest, name, column)
        case Datetime():
            forms: list[dict[str, Any]] = [{"format": "date-time"}, {"format": "date"}]
            if column.missing != "reject":
                forms.append({"enum": [*null_values(column, manifest.table.file)]})
            found = {"type": ["string"], "anyOf": forms}
            form = "ISO 8601" if column.format == "iso" else f"ISO 8601 or in the format {column.format}"
    if column.missing != "reject":
        kinds = "enum" if "enum" in found else "type"
        found[kinds] = [*found[kinds], None if kinds == "enum" else "null"]
    chosen = {policy: getattr(column, policy, "reject") for policy in POLICIES}
    policies = [f"{policy}: {value}" for policy, value in chosen.items() if value != "reject"]
    return {**found, "description": ", ".join(filter(None, (column.meaning, unit, form, *policies)))}


def describe_categories(manifest: Manifest, name: str, column: Categorical) -> dict[str, Any]:
    """Describe the values of a categorical column."""
    if column.one_hot is not None:
        return {"enum": [*column.one_hot]}
    listed = column.listed or {}
    if column.unseen == "reject" and 0 < len(listed) <= MAX_LISTED:
        return {"enum": [*listed, *integers_among(listed).values(), *words_among([*listed])]}
    learnt = manifest.preprocessor.categorical[name].values[:MAX_LISTED]
    found: dict[str, Any] = {"type": ["string", "number", "boolean"], "examples": [*learnt]}
    if column.missing == "reject":
        found["not"] = {"enum": [*null_values(column, manifest.table.file)]}
    return found


def object_of(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """Describe an object that has no other properties."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def example_row(manifest: Manifest) -> dict[str, Any]:
    """Give a row as the training rows are on average."""
    training, row = manifest.training, dict[str, Any]()
    for name, column in manifest.table.columns.items():
        if isinstance(column, Numeric) and name in training.numeric:
            mean = float(f"{training.numeric[name]['mean']:.4g}")
            row[name] = min(max(mean, column.low), column.high)
        elif isinstance(column, Categorical) and name in training.categories:
            shares = {**training.categories[name], OTHER: -1.0}
            values = manifest.preprocessor.categorical[name].values
            row[name] = max(values, key=shares.__getitem__, default=None)
        elif isinstance(column, Datetime) and name in manifest.preprocessor.datetime:
            time = training.numeric.get(f"{name}.time", {"mean": SOME_DAY})
            day = np.datetime64(int(time["mean"]), "D")
            row[name] = time_text(f"{day}T12:00:00Z", column.format)
    return row


def body_of(manifest: Manifest, *, max_rows: int) -> dict[str, Any]:
    """Describe a body of rows in JSON."""
    rows = {"type": "array", "items": row_schema(manifest), "minItems": 1, "maxItems": max_rows}
    example = {"rows": [example_row(manifest)]}
    content = {"application/json": {"schema": object_of({"rows": rows}, ["rows"]), "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def csv_body(manifest: Manifest) -> dict[str, Any]:
    """Describe a body of rows in CSV."""
    row = example_row(manifest)
    lines = io.StringIO(newline="")
    csv.writer(lines, lineterminator="\n").writerows([row.keys(), row.values()])
    schema = {
        **TEXT,
        "description": "A header line, then a line for each row, in the dialect of the table's file or with "
        "commas and decimal points. Columns may be in any order; further ones are ignored.",
    }
    on_error = {
        "name": "on_error",
        "in": "query",
        "schema": {"enum": [*ON_ERROR], "default": ON_ERROR[0]},
        "description": "What happens if rows have invalid values: `reject_file` refuses all, `reject_row` "
        "predicts the others; the answer then has a line for each row, and reasons in a column `problem`.",
    }
    content = {"text/csv": {"schema": schema, "example": lines.getvalue()}}
    return {"requestBody": {"required": True, "content": content}, "parameters": [on_error]}
