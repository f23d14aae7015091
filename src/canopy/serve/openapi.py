"""What the OpenAPI document says about requests and answers, from the bundle's manifest."""

import csv
import io
from typing import Any

import numpy as np

from canopy.export.manifest import Manifest
from canopy.prepare.preprocessor import OTHER
from canopy.schema.columns import Categorical, Datetime, Numeric
from canopy.serve.plain_rows import integers_among
from canopy.serve.problems import Problem
from canopy.serve.rows import time_text, words_among
from canopy.tables.convert import null_values
from canopy.tables.parse import LARGEST

# What happens to rows with an invalid value in a CSV body; the first is the default.
ON_ERROR = ("reject_file", "reject_row")
# The keys in `table` of params.yaml for each column; docs/data_sets.md documents it.
POLICIES = ("missing", "out_of_range", "unseen")
# Days since 1970, for an example of a time.
SOME_DAY = 20_000.0

TEXT = {"type": "string"}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
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
# Categories that are listed one by one.
MAX_LISTED = 100
ANY_VALUE = {"type": ["string", "number", "boolean", "null"]}


def row_schema(manifest: Manifest) -> dict[str, Any]:
    """Describe a row: each column with its kind, unit, range, categories and policies."""
    schema = manifest.preprocessor.restrict(manifest.table)
    further = {name: {**ANY_VALUE, "description": "Not used."} for name in [*schema.keys, *schema.ignored]}
    further[schema.target.column] = {**ANY_VALUE, "description": "The label; not used."}
    one_hot = {name: column.one_hot for name, column in schema.categorical.items() if column.one_hot}
    columns: dict[str, Numeric | Categorical | Datetime] = {**schema.numeric, **schema.categorical}
    columns |= schema.datetime
    properties = {name: column_schema(manifest, name, column) for name, column in columns.items()}
    required = [name for name, column in columns.items() if column.missing == "reject"]
    short = {**object_of(properties | further), "required": required}
    if not one_hot:
        return short
    parts = {
        part: {"type": "integer", "enum": [0, 1], "description": f"{name}: {meaning}"}
        for name, found in one_hot.items()
        for part, meaning in found.items()
    }
    others = {name: found for name, found in properties.items() if name not in one_hot}
    whole = {"title": "All columns", **object_of({**others, **parts, **further})}
    whole["required"] = [*(name for name in required if name not in one_hot), *parts]
    # Of these alternatives exactly one holds.
    chosen = [one_hot[name] for name in one_hot if name in required]
    whole["allOf"] = [{"oneOf": [{"properties": {part: {"const": 1}}} for part in found]} for found in chosen]
    return {"oneOf": [{"title": "One value for each column", **short}, whole]}


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
    rows = {**list_of(row_schema(manifest)), "minItems": 1, "maxItems": max_rows}
    example = {"rows": [example_row(manifest)]}
    content = {"application/json": {"schema": object_of({"rows": rows}), "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def csv_body(manifest: Manifest) -> dict[str, Any]:
    """Describe a body of rows in CSV."""
    row = example_row(manifest)
    for name, column in manifest.table.categorical.items():
        if column.one_hot is not None and name in row:
            chosen = row.pop(name)
            row |= {part: int(part == chosen) for part in column.one_hot}
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerows([row.keys(), row.values()])
    schema = {
        "type": "string",
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


def answers_of(manifest: Manifest) -> dict[str, dict[int | str, dict[str, Any]]]:
    """Describe what each path answers, by path and status."""
    prediction = {
        "label": {"enum": [*manifest.classes], "description": "The class as the table writes it."},
        "class": {"enum": [*manifest.classes.values()]},
        "probabilities": object_of(dict.fromkeys(manifest.classes.values(), SHARE)),
    }
    model = {**TEXT, "description": "Beginning of the SHA-256 of the graph."}
    contribution = object_of({"feature": TEXT, "contribution": {"type": "number"}})
    contributions = {**list_of(contribution), "description": "The largest come first."}
    predictions = {**list_of(object_of(prediction)), "minItems": 1}
    row = {"type": ["integer", "null"], "description": "From 0; null where no one row is meant."}
    problem = object_of({**dict.fromkeys(Problem._fields, TEXT), "row": row})
    error = {**object_of({"error": TEXT, "problems": list_of(problem)}), "required": ["error"]}
    refused: dict[int | str, Any] = {status: answer_of(error, text) for status, text in REFUSALS.items()}
    lines = answer_of(
        TEXT, "A header line, then the keys, label, class and probabilities of each row.", kind="text/csv"
    )
    headers = {name: {"description": text, "schema": TEXT} for name, text in CSV_HEADERS.items()}
    closed: dict[int | str, Any] = {401: refused[401]}
    about = {"type": "object", "description": "The bundle's model.json."}
    counters = answer_of(TEXT, "Counters in Prometheus's text format.", kind="text/plain")
    return {
        "/predict": {200: answer_of(object_of({"model": model, "predictions": predictions})), **refused},
        "/predict/csv": {200: {**lines, "headers": headers}, **refused},
        "/explain": {
            200: answer_of(object_of({"model": model, **prediction, "contributions": contributions})),
            **refused,
        },
        "/model": {200: answer_of(about), **closed},
        "/drift": {200: answer_of(drift_schema()), **closed},
        "/metrics": {200: counters, **closed},
        "/health": {200: answer_of(object_of({"status": {"const": "alive"}}))},
        "/ready": {200: answer_of(object_of({"status": {"const": "ready"}, "model": model}))},
    }


def drift_schema() -> dict[str, Any]:
    """Describe what `DriftMonitor.report` gives."""
    column = {
        "name": TEXT,
        "kind": {"enum": ["numeric", "categories", "predicted classes"]},
        "index": {"type": ["number", "null"], "description": "Population stability index."},
        "change": {"enum": ["none", "moderate", "large", None]},
        "bins": list_of(TEXT),
        "expected": {**list_of(SHARE), "description": "On the training rows."},
        "found": {**list_of(SHARE), "description": "Since the server started."},
    }
    count = {"type": "integer", "minimum": 0}
    return object_of({"n_rows": count, "min_rows": count, "columns": list_of(object_of(column))})


def object_of(properties: dict[str, Any]) -> dict[str, Any]:
    """Describe an object that has exactly these properties."""
    required = [*properties]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def list_of(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def answer_of(
    schema: dict[str, Any], meaning: str = "Done.", *, kind: str = "application/json"
) -> dict[str, Any]:
    return {"description": meaning, "content": {kind: {"schema": schema}}}
