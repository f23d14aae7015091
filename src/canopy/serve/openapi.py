"""What the OpenAPI document tells of requests and answers, from the bundle's own description."""

import csv
import io
from typing import Any

from canopy.bundle.manifest import Manifest

SHARE = {"type": "number", "minimum": 0, "maximum": 1}


def row_schema(manifest: Manifest) -> dict[str, Any]:
    """Describe a row: each column with its unit, meaning and range."""
    table = manifest.table
    properties: dict[str, Any] = {}
    for column in table.numeric:
        properties[column.name] = {
            "type": ["number", "null"] if column.missing == "median" else "number",
            "minimum": column.low,
            "maximum": column.high,
            "description": ", ".join(filter(None, (column.meaning, column.unit))),
        }
    for group in table.given_groups:
        for name, meaning in group.columns.items():
            properties[name] = {"type": "integer", "enum": [0, 1], "description": f"{group.name}: {meaning}"}
    whole = {"title": "All columns", **object_of(properties)}
    # Of these alternatives exactly one holds.
    whole["allOf"] = [
        {"oneOf": [{"properties": {name: {"const": 1}}} for name in group.columns]}
        for group in table.given_groups
    ]
    if not table.given_groups:
        return whole
    short = {name: properties[name] for name in (column.name for column in table.numeric)}
    for group in table.given_groups:
        choices = [choice or None for choice in group.choices]
        short[group.name] = {"enum": choices, "description": group.meaning}
    return {"oneOf": [{"title": "One value for each group", **object_of(short)}, whole]}


def example_row(manifest: Manifest) -> dict[str, Any]:
    """Give a row as the training rows are on average."""
    training = manifest.training
    row: dict[str, Any] = {
        column.name: round(training.numeric[column.name]["mean"], 1) for column in manifest.table.numeric
    }
    for group in manifest.table.given_groups:
        shares, choices = training.groups[group.name], group.choices
        row[group.name] = max(choices, key=lambda choice: shares[choices[choice]]) or None
    return row


def body_of(manifest: Manifest, *, max_rows: int) -> dict[str, Any]:
    """Describe a body of rows in JSON."""
    rows = {"type": "array", "minItems": 1, "maxItems": max_rows, "items": row_schema(manifest)}
    schema = object_of({"rows": rows})
    content = {"application/json": {"schema": schema, "example": {"rows": [example_row(manifest)]}}}
    return {"requestBody": {"required": True, "content": content}}


def csv_body(manifest: Manifest) -> dict[str, Any]:
    """Describe a body of rows in CSV."""
    table, row = manifest.table, example_row(manifest)
    for group in table.given_groups:
        if group.made_of == "columns":
            chosen = row.pop(group.name)
            row |= {name: int(name == chosen) for name in group.columns}
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(table.raw_features)
    writer.writerow(["" if row[name] is None else row[name] for name in table.raw_features])
    schema = {
        "type": "string",
        "description": "A header line, then a line for each row; a group may be given as in JSON.",
    }
    content = {"text/csv": {"schema": schema, "example": lines.getvalue()}}
    return {"requestBody": {"required": True, "content": content}}


def answers_of(manifest: Manifest) -> dict[str, dict[int | str, dict[str, Any]]]:
    """Describe what each path answers, by path and status."""
    shares = object_of(dict.fromkeys(manifest.table.classes.values(), SHARE))
    label = {"enum": [*manifest.table.classes], "description": "The class as the table writes it."}
    name = {"enum": [*manifest.table.classes.values()]}
    prediction = {"label": label, "class": name, "probabilities": shares}
    model = {"type": "string", "description": "Beginning of the SHA-256 of the graph."}
    contribution = object_of({"feature": {"type": "string"}, "contribution": {"type": "number"}})
    predictions = {"type": "array", "minItems": 1, "items": object_of(prediction)}
    contributions = {"type": "array", "items": contribution, "description": "The largest come first."}
    refused = describe_errors()
    return {
        "/predict": {200: json_answer(object_of({"model": model, "predictions": predictions})), **refused},
        "/predict/csv": {
            200: {
                "description": "A header line, then label, class and probabilities of each row.",
                "content": {"text/csv": {"schema": {"type": "string"}}},
            },
            **refused,
        },
        "/explain": {
            200: json_answer(object_of({"model": model, **prediction, "contributions": contributions})),
            **refused,
        },
        "/model": {
            200: json_answer({"type": "object", "description": "The bundle's model.json."}),
            401: refused[401],
        },
        "/drift": {200: json_answer(drift_schema()), 401: refused[401]},
        "/metrics": {
            200: {
                "description": "Counters in Prometheus's text format.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            401: refused[401],
        },
        "/health": {200: json_answer(object_of({"status": {"const": "alive"}}))},
        "/ready": {200: json_answer(object_of({"status": {"const": "ready"}, "model": model}))},
    }


def drift_schema() -> dict[str, Any]:
    """Describe what `DriftMonitor.report` tells."""
    column = {
        "name": {"type": "string"},
        "kind": {"enum": ["numeric", "categories", "predicted classes"]},
        "index": {"type": ["number", "null"], "description": "Population stability index."},
        "change": {"enum": ["none", "moderate", "large", None]},
        "bins": {"type": "array", "items": {"type": "string"}},
        "expected": {"type": "array", "items": SHARE, "description": "On the training rows."},
        "found": {"type": "array", "items": SHARE, "description": "Since the server started."},
    }
    count = {"type": "integer", "minimum": 0}
    return object_of(
        {"n_rows": count, "min_rows": count, "columns": {"type": "array", "items": object_of(column)}}
    )


def object_of(properties: dict[str, Any]) -> dict[str, Any]:
    """Describe an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def json_answer(schema: dict[str, Any], meaning: str = "Done.") -> dict[str, Any]:
    """Describe an answer in JSON."""
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}


def describe_errors() -> dict[int | str, dict[str, Any]]:
    """Describe the answers to a client's mistakes."""
    meanings = {
        400: "The body is empty, no JSON, no text in UTF-8, or no gzip data though it should be.",
        401: "The header X-API-Key does not hold this server's key.",
        413: "The body is too large, or there are too many rows.",
        415: "The body is compressed in another way than by gzip, or a form (multipart/form-data).",
        422: "A row is wrong: `problems` gives its place, the field, the requirement and what was found.",
    }
    problem = object_of(
        {
            "row": {"type": ["integer", "null"], "description": "From 0; null where no one row is meant."},
            "field": {"type": "string"},
            "requirement": {"type": "string"},
            "found": {"type": "string"},
        }
    )
    schema = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "problems": {"type": "array", "items": problem}},
        "required": ["error"],
        "additionalProperties": False,
    }
    return {status: json_answer(schema, meaning) for status, meaning in meanings.items()}
