"""Turn what a client sends into raw rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from canopy.serve.inspector import RowInspector
from canopy.serve.problems import MAX_PROBLEMS, Problem, RowsRefused
from canopy.table.spec import TableSpec


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
        groups = table.given_groups
        # Texts and nulls are not what the net takes.
        self.is_numeric = not self._nullable and all(group.made_of == "columns" for group in groups)
        self._members = np.zeros((n_inputs - n_numeric, len(groups)))
        # What a row may say of a group, and the values of its columns that this means.
        self._choices: dict[str, dict[str, dict[str, int]]] = {}
        start = 0
        for index, group in enumerate(groups):
            self._members[start : start + len(group.columns), index] = 1
            self._choices[group.name] = {
                choice: {column: int(column == chosen) for column in group.columns}
                for choice, chosen in group.choices.items()
            }
            start += len(group.columns)
        self._inspector = RowInspector(table)

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
            raise RowsRefused([Problem(None, "rows", "a list of at least one row", "an empty list")])
        inputs, n_inputs = self.inputs, len(self.inputs)
        values: list[list[Any]] = []
        wrong: list[int] = []
        nothing = [np.nan] * n_inputs
        for index, row in enumerate(rows):
            spread = row
            if type(row) is dict and (len(row) != n_inputs or not self.is_numeric):
                spread = self._spread_groups(row)
            try:
                found = [spread[name] for name in inputs]
            except (KeyError, TypeError):
                found = nothing
            if found is nothing or len(spread) != n_inputs or not {*map(type, found)} <= {int, float}:
                wrong.append(index)
                found = nothing
                if len(wrong) == MAX_PROBLEMS:
                    break
            values.append(found)
        else:
            matrix = np.array(values, dtype=np.float64)
            wrong += self._wrong(matrix)
            if not wrong:
                return matrix
        raise RowsRefused(self._inspector.inspect((index, rows[index]) for index in sorted({*wrong})))

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
        wrong = self._wrong(rows)[:MAX_PROBLEMS]
        if not wrong:
            return rows
        named = ((index, dict(zip(self.inputs, rows[index].tolist(), strict=True))) for index in wrong)
        raise RowsRefused(self._inspector.inspect(named))

    def _wrong(self, rows: NDArray[np.float64]) -> list[int]:
        """Find the rows with a value or a group that is not what it must be."""
        # NaN is in no range.
        in_range = (rows >= self._low) & (rows <= self._high)
        if self._nullable:
            numeric = slice(0, self._n_numeric)
            in_range[:, numeric] |= np.isnan(rows[:, numeric]) & self._optional
        one_hot = rows[:, self._n_numeric :]
        one_set = (one_hot == 1) @ self._members == 1
        # Beside one 1 in each group there is nothing; a sum would not tell of 1e-30 more.
        if np.count_nonzero(in_range) == in_range.size and np.count_nonzero(
            one_set
        ) == one_set.size == np.count_nonzero(one_hot):
            return []
        rest_is_0 = np.count_nonzero(one_hot, axis=1) == one_set.shape[1]
        wrong: list[int] = np.flatnonzero(~(in_range.all(axis=1) & one_set.all(axis=1) & rest_is_0)).tolist()
        return wrong

    def _spread_groups(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Put the columns of each group that is given by its name in the place of that name, NaN for null.

        A group that says nothing it may say, or that is given twice, keeps its name.
        """
        spread = dict(row)
        for name in self._nullable:
            if name in row and row[name] is None:
                spread[name] = np.nan
        for name, choices in self._choices.items():
            if name not in row:
                continue
            chosen = "" if row[name] is None else row[name]
            columns = choices.get(chosen) if isinstance(chosen, str) else None
            if columns is not None and columns.keys().isdisjoint(row):
                del spread[name]
                spread.update(columns)
        return spread
