"""Check the values of a table; each message gives the requirement, the value and its line."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from canopy.table.spec import SPLIT_COLUMN, SPLITS, OneHotGroup, TableSpec

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
        ValueError: If a value is missing, NaN or infinite, a one-hot column holds something else than
            0 and 1, a row does not set exactly one column of a complete group (at most one where
            columns were dropped), a label is no class of `spec` or a split is unknown.
    """
    for name in table.column_names:
        _check_present(table[name], name, source)
    for group in spec.groups:
        _check_one_hot(table, group, source)
    labels = table[spec.target].to_numpy()
    wrong = ~np.isin(labels, list(spec.classes))
    if wrong.any():
        raise ValueError(
            f"{source}: {spec.target!r} must be one of {[*spec.classes]}; "
            f"found {labels[wrong.argmax()]} in {_first(wrong)}"
        )
    if with_split:
        wrong = ~pc.is_in(table[SPLIT_COLUMN], pa.array(SPLITS)).to_numpy()
        if wrong.any():
            value = table[SPLIT_COLUMN][int(wrong.argmax())].as_py()
            raise ValueError(
                f"{source}: {SPLIT_COLUMN!r} must be one of {[*SPLITS]}; found {value!r} in {_first(wrong)}"
            )


def _check_present(column: pa.ChunkedArray, name: str, source: str) -> None:
    if column.null_count:
        line = _first(column.is_null().to_numpy())
        raise ValueError(f"{source}: column {name!r} must have a value in every row; found none in {line}")
    if pa.types.is_floating(column.type):
        values = column.to_numpy()
        wrong = ~np.isfinite(values)
        if wrong.any():
            value = values[wrong.argmax()]
            raise ValueError(f"{source}: column {name!r} must be finite; found {value} in {_first(wrong)}")


def _check_one_hot(table: pa.Table, group: OneHotGroup, source: str) -> None:
    n_set = np.zeros(table.num_rows, dtype=np.int64)
    for name in group.columns:
        values = table[name].to_numpy()
        wrong = (values != 0) & (values != 1)
        if wrong.any():
            value = values[wrong.argmax()]
            raise ValueError(
                f"{source}: one-hot column {name!r} must hold 0 or 1; found {value} in {_first(wrong)}"
            )
        n_set += values.astype(np.int64)
    wrong = n_set != 1 if group.complete else n_set > 1
    if wrong.any():
        number = "exactly" if group.complete else "at most"
        raise ValueError(
            f"{source}: each row must set {number} one column of {group.name!r}; "
            f"found {n_set[wrong.argmax()]} set in {_first(wrong)}"
        )


def first_text_line(column: pa.ChunkedArray) -> tuple[int, str]:
    """Find the first value of a text column that is no number.

    Returns:
        Its line in the file and the value, shortened for a message.
    """
    try:
        texts = column.cast(pa.string())
    except pa.ArrowInvalid:
        # Bytes that are no UTF-8.
        index = next(i for i, value in enumerate(column) if not _is_utf8(value.as_buffer().to_pybytes()))
        return index + FIRST_LINE, "a text that is no UTF-8"
    number = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
    wrong = pc.invert(pc.match_substring_regex(texts, number)).fill_null(False).to_numpy()  # noqa: FBT003
    index = int(wrong.argmax())
    return index + FIRST_LINE, shorten(repr(texts[index].as_py()))


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


def _first(wrong: NDArray[np.bool_]) -> str:
    return f"line {int(wrong.argmax()) + FIRST_LINE}"
