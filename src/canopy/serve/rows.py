"""Turn what a client sends into raw rows, or say what is wrong with it: field, requirement, value."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from canopy.serve.problems import MAX_PROBLEMS, Problem, RowsRefused, shown
from canopy.table.columns import OneHotGroup
from canopy.table.names import nearest
from canopy.table.spec import TableSpec

# Categories that a message names.
MAX_LISTED = 8


class RowReader:
    """Read rows as mappings from column to value, and check them against a table's description.

    A row names each input once. A group may be given by its name and the column that is set, or the text
    that the column is made of, in place of its columns: `{"soil": "soil29"}`, `{"island": "Dream"}`. Null is
    no value, where the table allows that.

    Args:
        table: The raw table; each range has two ends.
    """

    def __init__(self, table: TableSpec) -> None:
        self.table = table
        self.inputs = table.inputs
        n_numeric, n_inputs = len(table.numeric), len(self.inputs)
        self._low = np.zeros(n_inputs)
        self._high = np.ones(n_inputs)
        self._low[:n_numeric] = [column.low for column in table.numeric]
        self._high[:n_numeric] = [column.high for column in table.numeric]
        self._n_numeric = n_numeric
        self._optional = np.array([column.missing == "median" for column in table.numeric])
        self._nullable = {column.name for column in table.numeric if column.missing == "median"}
        self._group_list = table.given_groups
        # Texts and nulls are not what the net takes.
        self.is_numeric = not self._nullable and all(group.made_of == "columns" for group in self._group_list)
        self._members = np.zeros((n_inputs - n_numeric, len(self._group_list)))
        # What a row may say of a group, and the values of its columns that this means.
        self._groups: dict[str, dict[str, list[int]]] = {}
        self._columns: dict[str, list[str]] = {}
        self._group_requirements: dict[str, str] = {}
        start = 0
        for index, group in enumerate(self._group_list):
            self._members[start : start + len(group.columns), index] = 1
            identity = np.eye(len(group.columns), dtype=int).tolist()
            self._groups[group.name] = dict(zip(group.choices, identity, strict=True))
            self._columns[group.name] = [*group.columns]
            self._group_requirements[group.name] = describe_choices(group)
            start += len(group.columns)
        self._requirements = {column.name: column.range for column in table.numeric}

    def from_mappings(self, rows: Sequence[Any]) -> NDArray[np.float64]:
        """Read rows that came as JSON objects.

        Args:
            rows: The rows, B of them.

        Returns:
            Checked raw rows, shape (B, F).

        Raises:
            RowsRefused: If there is none, or one is wrong.
        """
        if not rows:
            raise RowsRefused([Problem(0, "rows", "a list of at least one row", "an empty list")])
        inputs, n_inputs = self.inputs, len(self.inputs)
        values: list[list[Any]] = []
        problems: list[Problem] = []
        for index, row in enumerate(rows):
            if type(row) is dict and (len(row) != n_inputs or not self.is_numeric):
                row = self._spread_groups(row, index, problems)
            try:
                found = [row[name] for name in inputs]
            except (KeyError, TypeError):
                problems += self._missing(row, index)
                found = []
            if len(problems) >= MAX_PROBLEMS:
                break
            if found and (len(row) != n_inputs or not {*map(type, found)} <= {int, float}):
                problems += self._unreadable(row, index)
            values.append(found)
        if problems:
            raise RowsRefused(problems[:MAX_PROBLEMS])
        return self.check(np.array(values, dtype=np.float64))

    def check(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Check raw rows.

        Args:
            rows: Shape (B, F); a missing value is NaN.

        Returns:
            The same.

        Raises:
            RowsRefused: If a value is missing or out of its range, or a row does not set exactly one column
                of each group.
        """
        one_hot = rows[:, self._n_numeric :]
        # NaN is in no range.
        in_range = (rows >= self._low) & (rows <= self._high)
        if self._nullable:
            in_range[:, : self._n_numeric] |= np.isnan(rows[:, : self._n_numeric]) & self._optional
        n_set = one_hot @ self._members
        # Of numbers from 0 to 1 with the sum 1, the squares have that sum too if one of them is 1.
        one_set = (n_set == 1) & ((one_hot * one_hot) @ self._members == 1)
        if np.count_nonzero(in_range) == in_range.size and np.count_nonzero(one_set) == one_set.size:
            return rows
        in_range[:, self._n_numeric :] &= (one_hot == 0) | (one_hot == 1)
        if in_range.all():
            raise RowsRefused(self._not_one_set(n_set))
        raise RowsRefused(self._out_of_range(rows, in_range))

    def _spread_groups(
        self, row: Mapping[str, Any], index: int, problems: list[Problem]
    ) -> Mapping[str, Any]:
        """Put the columns of each group that is given by its name in the place of that name, NaN for null."""
        spread = dict(row)
        for name in self._nullable:
            if name in row and row[name] is None:
                spread[name] = np.nan
        for name, columns in self._groups.items():
            if name not in row:
                continue
            chosen = "" if row[name] is None else row[name]
            if not isinstance(chosen, str) or chosen not in columns:
                hint = nearest(chosen, columns) if isinstance(chosen, str) else ""
                problems.append(
                    Problem(index, name, self._group_requirements[name], f"{shown(row[name])}{hint}")
                )
                chosen = next(iter(columns))
            del spread[name]
            for column, value in zip(self._columns[name], columns[chosen], strict=True):
                if column in row:
                    problems.append(
                        Problem(index, column, f"left out where {name} is given", shown(row[column]))
                    )
                spread[column] = value
        return spread

    def _missing(self, row: Any, index: int) -> list[Problem]:
        if not isinstance(row, dict):
            return [Problem(index, "", "an object with a value for each column", shown(row))]
        absent = [name for name in self.inputs if name not in row]
        problems = []
        for name, columns in self._columns.items():
            if {*columns} <= {*absent}:
                absent = [column for column in absent if column not in columns]
                requirement = f"given in each row, as {self._group_requirements[name]}"
                problems.append(Problem(index, name, requirement, "no such field"))
        single = [Problem(index, name, "given in each row", "no such field") for name in absent]
        return single + problems + self._unknown(row, index)

    def _unreadable(self, row: Mapping[str, Any], index: int) -> list[Problem]:
        wrong = [
            Problem(index, name, "a number", shown(row[name]))
            for name in self.inputs
            if type(row[name]) not in (int, float)
        ]
        return wrong + self._unknown(row, index)

    def _unknown(self, row: Mapping[str, Any], index: int) -> list[Problem]:
        known = {*self.inputs, *self._groups}
        return [
            Problem(
                index, shown(name)[1:-1], f"a column of the table{nearest(name, known)}", "an unknown field"
            )
            for name in row
            if name not in known
        ]

    def _out_of_range(self, rows: NDArray[np.float64], in_range: NDArray[np.bool_]) -> list[Problem]:
        problems = []
        for row, column in np.argwhere(~in_range)[:MAX_PROBLEMS].tolist():
            name, value = self.inputs[column], rows[row, column]
            requirement = self._requirements.get(name, "0 or 1")
            problems.append(Problem(row, name, requirement, "no number" if np.isnan(value) else f"{value:g}"))
        return problems

    def _not_one_set(self, n_set: NDArray[np.float64]) -> list[Problem]:
        problems = []
        for row, group in np.argwhere(n_set != 1)[:MAX_PROBLEMS].tolist():
            name = self.table.groups[group].name
            requirement = f"exactly one column of {name} that is 1"
            problems.append(Problem(row, name, requirement, f"{int(n_set[row, group])} that are 1"))
        return problems


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
