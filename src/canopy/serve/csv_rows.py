"""Read rows that came as CSV."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from canopy.serve.inspector import suggestion
from canopy.serve.problems import MAX_PROBLEMS, Problem, RowsRefused, named, shown
from canopy.serve.rows import RowReader
from canopy.table.columns import OneHotGroup
from canopy.table.spec import TableSpec


def rows_from_csv(
    text: str, reader: RowReader, *, check_count: Callable[[int], None] | None = None
) -> NDArray[np.float64]:
    """Read rows that came as CSV with a header line; the target may be among its columns and is not read.

    A group's name may stand for its columns, as in a row of JSON.

    Args:
        text: The CSV.
        reader: What checks the rows.
        check_count: Is told how many lines there are below the header, and raises if they are too many.

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
        raise RowsRefused([Problem(None, "the body", "CSV with a header line", shown(str(error)))]) from error
    if problems := [*islice(_header_problems(header, reader.table), MAX_PROBLEMS)]:
        raise RowsRefused(problems)
    if check_count is not None:
        # Before millions of lines are made texts of their own.
        below = file.tell()
        check_count(sum(not line.isspace() for line in file))
        file.seek(below)
    lines = [line for line in file if not line.isspace()]
    if not lines:
        raise RowsRefused([Problem(None, "rows", "below the header, at least one", "none")])
    # What is read column by column does not tell of lines that have a value too many.
    is_regular = {line.count(",") for line in lines} == {len(header) - 1}
    if reader.is_numeric and is_regular and {*reader.inputs} <= {*header}:
        places = [header.index(name) for name in reader.inputs]
        try:
            rows = np.loadtxt(lines, delimiter=",", comments=None, quotechar='"', usecols=places, ndmin=2)
        except ValueError:
            # Read value by value, each is named that is wrong.
            return reader.from_mappings(_as_mappings(lines, header, reader.table))
        return reader.check(rows)
    return reader.from_mappings(_as_mappings(lines, header, reader.table))


def _header_problems(header: Sequence[str], table: TableSpec) -> Iterator[Problem]:
    counts = Counter(header)
    for column in table.numeric:
        if column.name not in counts:
            yield Problem(None, column.name, "a column of the header", "no such column")
    for group in table.given_groups:
        yield from _group_problems(group, counts)
    known = {*_read_columns(table), *table.ignored, table.target}
    for name, n_found in counts.items():
        if name not in known:
            requirement = f"a column of the table{suggestion(name, known)}"
            yield Problem(None, named(name), requirement, "an unknown column")
        elif n_found > 1:
            yield Problem(None, name, "named once in the header", f"it {n_found} times")


def _group_problems(group: OneHotGroup, header: Collection[str]) -> Iterator[Problem]:
    columns = [*group.columns] if group.made_of == "columns" else []
    given = [name for name in columns if name in header]
    if group.name in header:
        for name in given:
            yield Problem(None, name, f"left out where {group.name} is given", "it in the header")
    elif given:
        for name in columns:
            if name not in header:
                yield Problem(None, name, "a column of the header", "no such column")
    else:
        instead = f", or its {len(columns)} columns" if columns else ""
        yield Problem(None, group.name, f"a column of the header{instead}", "no such column")


def _read_columns(table: TableSpec) -> set[str]:
    """The columns that a header may name for the features: a group's own name stands for its columns."""
    return {*table.raw_features, *(group.name for group in table.given_groups)}


def _as_mappings(lines: Sequence[str], header: Sequence[str], table: TableSpec) -> list[dict[str, Any]]:
    """Read lines value by value as the rows of a JSON body, texts that should be numbers as they are.

    Raises:
        RowsRefused: If lines have another number of values than the header has.
    """
    numeric = {column.name for column in table.numeric}
    numeric |= {name for group in table.groups if group.made_of == "columns" for name in group.columns}
    optional = {column.name for column in table.numeric if column.missing == "median"}
    optional |= {group.name for group in table.given_groups if "" in group.choices}
    read = _read_columns(table)
    wanted = [(place, name) for place, name in enumerate(header) if name in read]
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for fields in _split(lines):
        if not fields:
            continue
        if len(fields) != len(header):
            requirement = f"a line with one value for each of {len(header)} columns"
            problems.append(Problem(len(rows), "", requirement, str(len(fields))))
            if len(problems) == MAX_PROBLEMS:
                break
            rows.append({})
            continue
        row: dict[str, Any] = {}
        for place, name in wanted:
            value = fields[place]
            if name in optional and value in table.missing_values:
                row[name] = None
            else:
                row[name] = _number(value) if name in numeric else value
        rows.append(row)
    if problems:
        raise RowsRefused(problems)
    return rows


def _split(lines: Sequence[str]) -> Iterator[list[str]]:
    """Split lines into values."""
    n_rows = 0
    try:
        for fields in csv.reader(lines):
            yield fields
            n_rows += bool(fields)
    except csv.Error as error:
        raise RowsRefused([Problem(n_rows, "", "a line of CSV", shown(str(error)))]) from error


def _number(value: str) -> float | str:
    """Read a number, or leave a text that is none for the reader to refuse."""
    try:
        number = float(value)
    except ValueError:
        return value
    # Python reads 1_000, as no table writes it.
    return value if isnan(number) or "_" in value else number
