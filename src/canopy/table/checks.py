"""Check the values of a table; each message gives the requirement, the value and its line."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from canopy.table.columns import OneHotGroup
from canopy.table.spec import SPLIT_COLUMN, SPLITS, TableSpec

# Line 1 is the header.
FIRST_LINE = 2


def check_values(table: pa.Table, spec: TableSpec, *, source: str, with_split: bool = False) -> None:
    """Reject a table with a missing, infinite or impossible value.

    Args:
        table: All columns of `spec`, numeric.
        spec: What the values may be.
        source: Name of the file, for messages.
        with_split: Whether there is a split column to check as well.

    Raises:
        ValueError: If a feature is wrong as `check_features` tells, a label or split is missing, a label
            is no class of `spec` or a split is unknown.
    """
    check_features(table, spec, source=source)
    labels = table[spec.target]
    wrong = ~pc.is_in(labels, pa.array([*spec.classes]).cast(labels.type)).to_numpy()
    if wrong.any():
        value = labels[int(wrong.argmax())].as_py()
        raise ValueError(
            f"{source}: {spec.target!r} must be one of {shorten([*spec.classes])}; found {value!r} in "
            f"{_first(wrong, FIRST_LINE)}"
        )
    if with_split:
        wrong = ~pc.is_in(table[SPLIT_COLUMN], pa.array(SPLITS)).to_numpy()
        if wrong.any():
            value = table[SPLIT_COLUMN][int(wrong.argmax())].as_py()
            raise ValueError(
                f"{source}: {SPLIT_COLUMN!r} must be one of {[*SPLITS]}; found {value!r} in "
                f"{_first(wrong, FIRST_LINE)}"
            )


def check_features(table: pa.Table, spec: TableSpec, *, source: str, first_line: int = FIRST_LINE) -> None:
    """Reject rows with a missing, infinite or impossible feature.

    Args:
        table: All features of `spec`, numeric; of other columns only that no value is missing is checked.
        spec: What the values may be.
        source: Name of the file, for messages.
        first_line: Line of the first row in the file.

    Raises:
        ValueError: If a value is infinite, or missing (NaN) in a column that must have one, a one-hot column
            holds something else than 0 and 1, or a row does not set exactly one column of a complete group
            (at most one where columns were dropped).
    """
    optional = {column.name for column in spec.numeric if column.missing == "median"}
    numeric = {column.name for column in spec.numeric}
    for name in table.column_names:
        if name not in optional:
            way_out = ""
            if name in numeric:
                way_out = (
                    f": give one, or say table.numeric.{name}.missing: median in params.yaml before training"
                )
            _check_present(table[name], name, source, first_line, way_out)
        _check_finite(table[name], name, source, first_line)
    for group in spec.groups:
        _check_one_hot(table, group, source, first_line)


def check_ranges(table: pa.Table, spec: TableSpec, *, source: str, first_line: int = FIRST_LINE) -> None:
    """Reject rows of a raw table with a numeric value that is not possible.

    Args:
        table: The numeric columns of `spec`, finite and not yet normalised.
        spec: What the values may be.
        source: Name of the file, for messages.
        first_line: Line of the first row in the file.

    Raises:
        ValueError: If a value is outside its column's range.
    """
    for column in spec.numeric:
        values = table[column.name].to_numpy()
        wrong = (values < column.low) | (values > column.high)
        if wrong.any():
            raise ValueError(
                f"{source}: column {column.name!r} must be {column.range}; "
                f"found {values[wrong.argmax()]} in {_first(wrong, first_line)}"
            )


def _check_present(column: pa.ChunkedArray, name: str, source: str, first_line: int, way_out: str) -> None:
    if not column.null_count and not pa.types.is_floating(column.type):
        return
    missing = pc.is_null(column, nan_is_null=True).to_numpy()
    if missing.any():
        raise ValueError(
            f"{source}: column {name!r} must have a value in every row; found none in "
            f"{_first(missing, first_line)}{way_out}"
        )


def _check_finite(column: pa.ChunkedArray, name: str, source: str, first_line: int) -> None:
    if pa.types.is_floating(column.type):
        values = column.to_numpy()
        wrong = np.isinf(values)
        if wrong.any():
            value = values[wrong.argmax()]
            line = _first(wrong, first_line)
            raise ValueError(f"{source}: column {name!r} must be finite; found {value} in {line}")


def _check_one_hot(table: pa.Table, group: OneHotGroup, source: str, first_line: int) -> None:
    n_set = np.zeros(table.num_rows, dtype=np.int64)
    for name in group.columns:
        values = table[name].to_numpy()
        wrong = (values != 0) & (values != 1)
        if wrong.any():
            value = values[wrong.argmax()]
            raise ValueError(
                f"{source}: one-hot column {name!r} must hold 0 or 1; "
                f"found {value} in {_first(wrong, first_line)}"
            )
        n_set += values.astype(np.int64)
    wrong = n_set != 1 if group.complete else n_set > 1
    if wrong.any():
        number = "exactly" if group.complete else "at most"
        raise ValueError(
            f"{source}: each row must set {number} one column of {group.name!r}; "
            f"found {n_set[wrong.argmax()]} set in {_first(wrong, first_line)}"
        )


def first_text_line(column: pa.ChunkedArray, *, first_line: int = FIRST_LINE) -> tuple[int, str] | None:
    """Find the first value of a text column that is no number.

    Args:
        column: Texts or bytes, any of which may be missing.
        first_line: Line of the first row in the file.

    Returns:
        Its line in the file and the value, shortened for a message; None if all are numbers.
    """
    try:
        texts = column.cast(pa.string())
    except pa.ArrowInvalid:
        # Bytes that are no UTF-8.
        index = next(i for i, value in enumerate(column) if not _is_utf8(value.as_buffer().to_pybytes()))
        return index + first_line, "a text that is no UTF-8"
    # What Arrow reads as a number.
    number = r"^[ \t]*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity|nan))[ \t]*$"
    wrong = pc.invert(pc.match_substring_regex(texts, number)).fill_null(False).to_numpy()  # noqa: FBT003
    if not wrong.any():
        return None
    index = int(wrong.argmax())
    return index + first_line, shorten(repr(texts[index].as_py()))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def shorten(text: object, *, length: int = 160) -> str:
    """Put a text of any length on one line of a message.

    Examples:
        >>> shorten("a" * 20, length=10)
        'aaaaaaa...'
    """
    line = " ".join(str(text).split())
    return line if len(line) <= length else line[: length - 3] + "..."


def _first(wrong: NDArray[np.bool_], first_line: int) -> str:
    return f"line {int(wrong.argmax()) + first_line}"
