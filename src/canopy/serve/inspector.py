"""Find all that is wrong with a row that a client sent: field, requirement, value."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from math import isnan
from typing import Any

from canopy.names import nearest
from canopy.serve.problems import MAX_PROBLEMS, Problem, named, shown
from canopy.table.columns import NumericColumn, OneHotGroup
from canopy.table.spec import TableSpec

# Categories that a message names.
MAX_LISTED = 8
# Longer names than this are not compared with those of the table.
MAX_COMPARED = 100


class RowInspector:
    """Say what is wrong with rows that have been found wrong; it is slow beside finding that.

    Args:
        table: The raw table; each range has two ends.
    """

    def __init__(self, table: TableSpec) -> None:
        self._numeric = table.numeric
        self._groups = table.given_groups
        self._known = {*table.inputs, *(group.name for group in self._groups)}

    def inspect(self, rows: Iterable[tuple[int, Any]]) -> list[Problem]:
        """Name what is wrong.

        Args:
            rows: Place of each row in the request, and the row.

        Returns:
            The first `MAX_PROBLEMS`, row by row.
        """
        found = (problem for index, row in rows for problem in self._problems(index, row))
        return [*islice(found, MAX_PROBLEMS)]

    def _problems(self, index: int, row: Any) -> Iterator[Problem]:
        if type(row) is not dict:
            yield Problem(index, "", "an object with a value for each column", shown(row))
            return
        for column in self._numeric:
            if column.name not in row:
                yield Problem(index, column.name, "given in each row", "no such field")
            else:
                yield from number_problems(index, column, row[column.name])
        for group in self._groups:
            yield from group_problems(index, group, row)
        for name in row:
            if name not in self._known:
                requirement = f"a column of the table{suggestion(name, self._known)}"
                yield Problem(index, named(name), requirement, "an unknown field")


def number_problems(index: int, column: NumericColumn, value: Any) -> Iterator[Problem]:
    """Say what is wrong with the value of a numeric column."""
    is_number = type(value) in (int, float)
    is_missing = value is None or (is_number and isnan(value))
    if is_missing and column.missing == "median":
        return
    if not is_number:
        yield Problem(index, column.name, "a number", shown(value))
    elif not column.low <= value <= column.high:
        yield Problem(index, column.name, column.range, "no number" if isnan(value) else f"{value:g}")


def group_problems(index: int, group: OneHotGroup, row: Mapping[str, Any]) -> Iterator[Problem]:
    """Say what is wrong with a group: its name's value, or its columns' values."""
    given = [name for name in group.columns if name in row]
    if group.name in row:
        value = row[group.name]
        is_choice = (value is None or isinstance(value, str)) and (value or "") in group.choices
        if not is_choice:
            hint = suggestion(value, group.choices) if isinstance(value, str) else ""
            yield Problem(index, group.name, describe_choices(group), f"{shown(value)}{hint}")
        for name in given:
            yield Problem(index, name, f"left out where {group.name} is given", shown(row[name]))
        return
    if not given:
        yield Problem(index, group.name, f"given in each row, as {describe_choices(group)}", "no such field")
        return
    problems = [
        Problem(index, name, "given in each row", "no such field")
        for name in group.columns
        if name not in row
    ]
    for name in given:
        value = row[name]
        if type(value) not in (int, float):
            problems.append(Problem(index, name, "a number", shown(value)))
        elif value not in (0, 1):
            problems.append(Problem(index, name, "0 or 1", "no number" if isnan(value) else f"{value:g}"))
    yield from problems
    n_set = sum(row[name] for name in given) if not problems else 1
    if n_set != 1:
        requirement = f"exactly one column of {group.name} that is 1"
        yield Problem(index, group.name, requirement, f"{int(n_set)} that are 1")


def suggestion(name: str, names: Iterable[str]) -> str:
    """Suggest the name that was probably meant, unless the one that was sent is too long to be compared."""
    return nearest(name, names) if len(name) <= MAX_COMPARED else ""


def describe_choices(group: OneHotGroup) -> str:
    """Say how a row may give a group.

    Examples:
        >>> from canopy.table.columns import text_group
        >>> describe_choices(text_group("island", "Island", {"Dream": "Dream"}, own_category=True))
        "'Dream' or null"
    """
    if group.made_of == "columns":
        return f"the name of one of its {len(group.columns)} columns, or all of them"
    choices = [repr(choice) if choice else "null" for choice in group.choices]
    *others, last = choices if len(choices) <= MAX_LISTED else [*choices[:MAX_LISTED], "..."]
    return f"{', '.join(others)} or {last}" if others else last
