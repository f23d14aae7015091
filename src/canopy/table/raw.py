"""The raw table: texts become one-hot columns, and missing numbers get columns that tell of them."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from canopy.table.checks import FIRST_LINE, check_ranges, check_values, shorten
from canopy.table.columns import OneHotGroup
from canopy.table.csv import check_file, check_header, check_numbers, read_columns, target_type
from canopy.table.names import nearest
from canopy.table.spec import TableSpec


def read_raw_table(path: str | Path, spec: TableSpec) -> pa.Table:
    """Read the raw table and check every value against its description.

    Args:
        path: CSV file with one header line.
        spec: The columns that the file must have, in any order.

    Returns:
        The columns of `spec`, in its order; only numbers of columns that allow it may be missing.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the header, the form of a line or a value is wrong; the message names the line.
    """
    table = _read(path, spec)
    expanded = expand(table, spec, source=str(path))
    check_values(expanded, spec, source=str(path))
    check_ranges(expanded, spec, source=str(path))
    return expanded


def read_raw_columns(path: str | Path, spec: TableSpec) -> pa.Table:
    """Read the raw table, any value of which may be missing or impossible.

    A row whose text is no category sets no column of its group.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the header or the form of a line is wrong, or a value that should be a number is none;
            the message names the line.
    """
    return expand(_read(path, spec), spec, source=str(path), strict=False)


def text_types(spec: TableSpec) -> dict[str, pa.DataType]:
    """Give the type of each column of text."""
    return {group.name: pa.string() for group in spec.groups if group.made_of == "text"}


def expand(
    table: pa.Table, spec: TableSpec, *, source: str, first_line: int = FIRST_LINE, strict: bool = True
) -> pa.Table:
    """Give raw rows the columns that all stages after this one know.

    Args:
        table: The columns `spec.raw_features`, those of text as texts; perhaps the target too.
        spec: What they are.
        source: Name of the file, for messages.
        first_line: Line of the first row in the file.
        strict: Whether a text must be a category.

    Returns:
        The columns `spec.features` in their order, and the target if it is there.

    Raises:
        ValueError: If a text is no category; the message names the line.
    """
    columns: dict[str, pa.ChunkedArray] = {}
    for name in table.column_names:
        if name == spec.target or name in spec.raw_features:
            columns[name] = table[name]
    for group in spec.groups:
        if group.made_of == "text":
            columns |= _expand_text(columns.pop(group.name), group, source, first_line, strict=strict)
        elif group.made_of == "gaps":
            is_missing = pc.is_null(table[group.source], nan_is_null=True)
            no, yes = group.columns
            columns[no], columns[yes] = pc.invert(is_missing).cast(pa.int8()), is_missing.cast(pa.int8())
    names = [*spec.features, *([spec.target] if spec.target in columns else [])]
    return pa.table({name: columns[name] for name in names})


def _read(path: str | Path, spec: TableSpec) -> pa.Table:
    check_file(path)
    columns = spec.raw_columns
    check_header(Path(path), columns, optional=spec.ignored)
    texts = text_types(spec)
    types = {**texts, **target_type(spec)}
    table = read_columns(path, columns, types=types, missing_values=spec.missing_values)
    check_numbers(table, [name for name in columns if name not in types], source=str(path))
    return table


def _expand_text(
    texts: pa.ChunkedArray, group: OneHotGroup, source: str, first_line: int, *, strict: bool
) -> Mapping[str, pa.ChunkedArray]:
    """Make one-hot columns of a column of text."""
    choices = [*group.choices]
    filled = texts.fill_null("")
    codes = pc.index_in(filled, value_set=pa.array(choices))
    if strict and codes.null_count:
        index = int(codes.is_null().to_numpy().argmax())
        value = filled[index].as_py()
        if value:
            raise ValueError(
                f"{source}: column {group.name!r} must hold one of the categories of params.yaml; found "
                f"{shorten(repr(value))} in line {index + first_line}{nearest(value, choices)}"
            )
        raise ValueError(
            f"{source}: column {group.name!r} must have a value in every row; found none in line "
            f"{index + first_line}; table.text.{group.name}.missing=category makes that a category"
        )
    return {
        column: pc.equal(codes, code).fill_null(False).cast(pa.int8())  # noqa: FBT003
        for code, column in enumerate(group.columns)
    }
