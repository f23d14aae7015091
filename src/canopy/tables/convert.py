"""Turn the values of a column into numbers, texts or times, and find those that are none."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from canopy.schema import TableSchema
from canopy.schema.columns import Column, Datetime, Numeric
from canopy.schema.table import FileFormat

Bools = NDArray[np.bool_]


class Converted(NamedTuple):
    """The values of a column, null where there is none or it is invalid."""

    values: pa.Array
    invalid: Bools


def _all_valid(values: pa.Array) -> Converted:
    return Converted(values, np.zeros(len(values), bool))


def to_texts(values: pa.Array, column: Column, file_format: FileFormat) -> pa.Array:
    """Convert values to text: numbers without a fraction as integers, null markers to null."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    texts = values.cast(pa.string())
    if pa.types.is_floating(values.type):
        texts = pc.replace_substring_regex(texts, r"\.0$", "")
        texts = pc.if_else(pc.is_nan(values).fill_null(True), None, texts)  # noqa: FBT003
    if file_format.trim:
        texts = pc.utf8_trim_whitespace(texts)
    markers = pa.array(null_values(column, file_format), pa.string())
    return pc.if_else(pc.is_in(texts, markers), None, texts)


def to_numbers(values: pa.Array, column: Numeric, file_format: FileFormat) -> Converted:
    """Convert values to double precision."""
    markers = null_values(column, file_format)
    if pa.types.is_primitive(values.type) and not pa.types.is_temporal(values.type):
        # Arrow does not cast booleans to double precision.
        values = values.cast(pa.int8()) if pa.types.is_boolean(values.type) else values
        numbers = values.cast(pa.float64(), safe=False)
        is_missing = pc.is_nan(numbers)
        for marker in filter(is_number, markers):
            is_missing = pc.or_(is_missing, pc.equal(numbers, float(marker)))
        return _all_valid(pc.if_else(is_missing, None, numbers))
    plain = file_format.decimal == "." and not file_format.thousands and not column.marks
    # Most columns hold numbers alone; among them is no marker.
    if plain and not any(map(is_number, markers)) and (found := _cast(values)) is not None:
        return _all_valid(found)
    texts = to_texts(values, column, file_format)
    if plain and (found := _cast(texts)) is not None:
        return _all_valid(found)
    texts = pc.utf8_trim_whitespace(texts)
    for mark in column.marks:
        texts = pc.replace_substring(texts, mark, "")
    texts = pc.replace_substring(pc.utf8_trim_whitespace(texts), "\u2212", "-")
    invalid = pc.invert(pc.match_substring_regex(texts, _number_pattern(file_format)))
    invalid = pc.fill_null(invalid, False)  # noqa: FBT003
    texts = pc.if_else(invalid, None, texts)
    for mark in file_format.thousands:
        texts = pc.replace_substring(texts, mark, "")
    if file_format.decimal != ".":
        texts = pc.replace_substring(texts, file_format.decimal, ".")
    return Converted(texts.cast(pa.float64()), invalid.to_numpy(zero_copy_only=False))


def _cast(values: pa.Array) -> pa.Array | None:
    """Cast texts that are all numbers, much faster than by a pattern."""
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
        numbers = values.cast(pa.float64())
        return None if pc.any(pc.is_nan(numbers)).as_py() else numbers
    return None


def to_bits(values: pa.Array) -> NDArray[np.int8] | None:
    """Convert texts that are all 0 or 1, much faster than `to_numbers`; None for other values."""
    if values.null_count or not len(values) or not pa.types.is_string(values.type):
        return None
    # Texts of one character each lie side by side.
    _, starts, characters = values.buffers()
    places = np.frombuffer(starts, np.int32)[values.offset :][: len(values) + 1]
    if (np.diff(places) != 1).any():
        return None
    bits = np.frombuffer(characters, np.uint8)[places[0] : places[-1]] - np.uint8(ord("0"))
    return bits.astype(np.int8) if ((bits == 0) | (bits == 1)).all() else None


def _number_pattern(file_format: FileFormat) -> str:
    """A number in this format; marks between thousands only before three digits, and not after a first 0."""
    decimal, marks = re.escape(file_format.decimal), re.escape(file_format.thousands)
    digits = rf"([1-9]\d{{0,2}}([{marks}]\d{{3}})+|\d+)" if marks else r"\d+"
    return rf"^[+-]?(({digits}({decimal}\d*)?|{decimal}\d+)([eE][+-]?\d+)?|(?i:inf|infinity))$"


def to_times(values: pa.Array, column: Datetime, file_format: FileFormat) -> Converted:
    """Convert values to times in microseconds, those with an offset to UTC."""
    if pa.types.is_temporal(values.type):
        times = values.cast(pa.timestamp("us", getattr(values.type, "tz", None)), safe=False)
        return _all_valid(times.cast(pa.timestamp("us")))
    # Here, since only tables with times need it.
    import pandas as pd

    if column.format == "epoch":
        found, invalid = to_numbers(values, Numeric(null_values=column.null_values), file_format)
        parsed = pd.to_datetime(found.to_pandas(), unit="s", errors="coerce", utc=True)
    else:
        found, invalid = _all_valid(to_texts(values, column, file_format))
        form = "ISO8601" if column.format == "iso" else column.format
        parsed = pd.to_datetime(pd.Series(found.to_pandas()), format=form, errors="coerce", utc=True)
    times = pa.array(parsed.dt.tz_localize(None), pa.timestamp("us"), from_pandas=True, safe=False)
    outside = pc.and_(pc.is_valid(found), pc.is_null(times)).to_numpy(zero_copy_only=False)
    return Converted(times, invalid | outside)


def null_values(column: Column, file_format: FileFormat) -> tuple[str, ...]:
    """Give the texts that mean that there is no value."""
    return file_format.null_values if column.null_values is None else column.null_values


def is_number(text: str) -> bool:
    """Return whether a text is a number, NaN left out."""
    with suppress(ValueError):
        return float(text) == float(text)
    return False


def known_labels(labels: pa.Array, schema: TableSchema, classes: Sequence[str]) -> pa.Array:
    """Replace labels that are not among `classes` by the merged class, or null where there is none."""
    merged = schema.target.merged_name if schema.target.rare == "merge" else None
    kept = pc.or_(pc.is_in(labels, pa.array(classes)), pc.is_null(labels))
    return pc.if_else(kept, labels, pa.scalar(merged, pa.string()))
