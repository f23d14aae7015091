"""Read rows that came as CSV."""

import csv
import io
from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from canopy.serve.problems import MAX_PROBLEMS, Problem, RowsRefused, shown
from canopy.serve.rows import RowReader
from canopy.table.names import nearest
from canopy.table.spec import TableSpec


def rows_from_csv(text: str, reader: RowReader) -> NDArray[np.float64]:
    """Read rows that came as CSV with a header line; the target may be among its columns and is not read.

    Args:
        text: The CSV.
        reader: What checks the rows.

    Returns:
        Checked raw rows, shape (B, F).

    Raises:
        RowsRefused: If a column is missing, unknown or named twice, a line is no row of the table, or a value
            is wrong.
    """
    file = io.StringIO(text.removeprefix("\ufeff"))
    try:
        header = next(csv.reader([file.readline()]), [])
    except csv.Error as error:
        raise RowsRefused([Problem(0, "", "CSV with a header line", shown(str(error)))]) from error
    problems = [
        Problem(0, name, "a column of the header", "no such column")
        for name in reader.table.raw_features
        if name not in header
    ]
    known = {*reader.table.raw_features, *reader.table.ignored, reader.table.target}
    problems += [
        Problem(0, shown(name)[1:-1], f"a column of the table{nearest(name, known)}", "an unknown column")
        for name in header
        if name not in known
    ]
    problems += [
        Problem(0, name, "named once in the header", "it twice")
        for name in {*header}
        if header.count(name) > 1 and name in known
    ]
    if problems:
        raise RowsRefused(problems[:MAX_PROBLEMS])
    lines = file.readlines()
    if not any(line.strip() for line in lines):
        raise RowsRefused([Problem(0, "rows", "below the header, at least one", "none")])
    if not reader.is_numeric:
        return reader.from_mappings(_as_mappings(lines, header, reader.table))
    places = [header.index(name) for name in reader.inputs]
    try:
        rows = np.loadtxt(lines, delimiter=",", comments=None, quotechar='"', usecols=places, ndmin=2)
    except ValueError as error:
        raise RowsRefused([unreadable_line(lines, header, error, target=reader.table.target)]) from error
    return reader.check(rows)


def _as_mappings(lines: Sequence[str], header: Sequence[str], table: TableSpec) -> list[dict[str, Any]]:
    """Read lines with texts or missing values as the rows of a JSON body."""
    numeric = {column.name for column in table.numeric}
    numeric |= {name for group in table.groups if group.made_of == "columns" for name in group.columns}
    wanted = [(place, name) for place, name in enumerate(header) if name in table.raw_features]
    rows: list[dict[str, Any]] = []
    for index, fields in enumerate(csv.reader(lines)):
        if not fields:
            continue
        if len(fields) != len(header):
            raise RowsRefused(
                [Problem(index, "", f"a line of {len(header)} values", f"{len(fields)} values")]
            )
        row: dict[str, Any] = {}
        for place, name in wanted:
            value = fields[place]
            if value in table.missing_values:
                row[name] = None
            elif name in numeric:
                row[name] = _number(value)
            else:
                row[name] = value
        rows.append(row)
    return rows


def _number(value: str) -> float | str:
    """Read a number, or leave a text that is none for the reader to refuse."""
    try:
        number = float(value)
    except ValueError:
        return value
    return value if isnan(number) else number


def unreadable_line(lines: Sequence[str], header: Sequence[str], error: Exception, *, target: str) -> Problem:
    """Find the value that is no number, or the line that has too few."""
    unreadable = Problem(0, "", "lines of numbers", shown(str(error)))
    try:
        return _find_unreadable(lines, header, target) or unreadable
    except csv.Error:
        return unreadable


def _find_unreadable(lines: Sequence[str], header: Sequence[str], target: str) -> Problem | None:
    for index, fields in enumerate(csv.reader(lines)):
        if fields and len(fields) != len(header):
            return Problem(index, "", f"a line of {len(header)} values", f"{len(fields)} values")
        for name, value in zip(header, fields, strict=False):
            try:
                float(value if name != target else 0)
            except ValueError:
                return Problem(index, name, "a number", shown(value))
    return None
