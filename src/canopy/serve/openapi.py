"""What the OpenAPI document tells of requests, from the bundle's own description."""

from typing import Any

from canopy.bundle.manifest import Manifest


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
    whole = {
        "type": "object",
        "title": "All columns",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }
    if not table.given_groups:
        return whole
    short = {name: properties[name] for name in (column.name for column in table.numeric)}
    for group in table.given_groups:
        choices = [choice or None for choice in group.choices]
        short[group.name] = {"enum": choices, "description": group.meaning}
    return {
        "oneOf": [
            {
                "type": "object",
                "title": "One value for each group",
                "properties": short,
                "required": [*short],
                "additionalProperties": False,
            },
            whole,
        ]
    }


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


def body_of(manifest: Manifest) -> dict[str, Any]:
    """Describe a body of rows in JSON."""
    schema = {
        "type": "object",
        "properties": {"rows": {"type": "array", "minItems": 1, "items": row_schema(manifest)}},
        "required": ["rows"],
        "additionalProperties": False,
    }
    content = {"application/json": {"schema": schema, "example": {"rows": [example_row(manifest)]}}}
    return {"requestBody": {"required": True, "content": content}}


def csv_body(manifest: Manifest) -> dict[str, Any]:
    """Describe a body of rows in CSV."""
    schema = {"type": "string", "description": "A header line with all columns, then a line for each row."}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {"schema": schema, "example": ",".join(manifest.table.raw_features) + "\n..."}
            },
        }
    }


def describe_errors() -> dict[int | str, dict[str, Any]]:
    """Describe the answers to a client's mistakes."""
    meanings = {
        400: "The body is no JSON, or no text in UTF-8.",
        401: "The header X-API-Key does not hold this server's key.",
        413: "The body is too large, or there are too many rows.",
        422: "A row is wrong: `problems` gives its place, the field, the requirement and what was found.",
    }
    return {status: {"description": meaning} for status, meaning in meanings.items()}
