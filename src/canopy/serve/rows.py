"""Turn what a client sends as JSON into what a bundle predicts."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pyarrow as pa

from canopy.prepare.preprocessor import Inputs, Preprocessor
from canopy.schema import TableSchema
from canopy.schema.columns import Categorical, Datetime, Numeric
from canopy.serve.plain_rows import FURTHER, PlainRows
from canopy.serve.problems import MAX_PROBLEMS, Problem, RowsRefused, named, shown, suggestion
from canopy.tables.parse import parse

# How tables write true and false; the first that a column has counts.
WORDS = {"true": True, "false": False, "yes": True, "no": False, "t": True, "f": False, "y": True, "n": False}


class RowReader:
    """Reads rows as mappings from column to value, and checks them against the schema of a table.

    A row has a number for a numeric column, a text, a number or a boolean for a categorical one, and a text
    for a time, by ISO 8601 or in the column's format. A column that is written as 0/1 columns is given by
    them, or by its name and the name of the one that is 1: `{"soil": "soil29"}`. Null, or no such field, is a
    missing value.

    Args:
        table: The raw table.
        preprocessor: What was learnt from its training rows.

    Attributes:
        schema: The rows that are expected.
        plain_schema: The same for numbers with a decimal point, features only.
        names: The columns that a row may have.
    """

    def __init__(self, table: TableSchema, preprocessor: Preprocessor) -> None:
        self.schema = schema = preprocessor.restrict(table)
        marks = {"delimiter": ",", "quote": '"', "decimal": ".", "thousands": ""}
        features = {name: schema.columns[name] for name in schema.features}
        plain = schema.model_copy(update={"file": schema.file.model_copy(update=marks)})
        self.plain_schema = plain.model_copy(update={"columns": features})
        self._preprocessor = preprocessor
        # Reading times takes so long that a fast way for the other columns would not help.
        self._plain = None if schema.datetime else PlainRows(plain, preprocessor)
        # 0/1 columns are checked sooner as integers, if that is what they are.
        self._types = {
            part: pa.float64() if part in schema.numeric else pa.string() if part == name else None
            for name in features
            for part in schema.file_columns(name)
        }
        self._further = {*schema.keys, *schema.ignored, schema.target.column}
        names = dict.fromkeys([*self._types, *features, *self._further])
        self._places = {name: place for place, name in enumerate(names)}
        self.names = frozenset(names)
        self._words = {name: words_among(found.values) for name, found in preprocessor.categorical.items()}

    def read(self, rows: Sequence[Any]) -> Inputs:
        """Read rows that came as JSON objects.

        Args:
            rows: The rows, B of them.

        Returns:
            What the graph of the bundle takes.

        Raises:
            RowsRefused: If there is none, or one is wrong.
        """
        if not rows:
            raise RowsRefused([Problem(None, "rows", "be a list of at least one row", "an empty list")])
        found = None if self._plain is None else self._plain.read(rows)
        return self.check(rows) if found is None else found

    def check(self, rows: Sequence[Any]) -> Inputs:
        """Read rows value by value, apply the policies, and name all that is wrong."""
        columns: dict[str, list[Any]] = {name: [] for name in self._types}
        problems: list[Problem] = []
        for index, row in enumerate(rows):
            found = self._fields(index, row, problems)
            for name, values in columns.items():
                values.append(found.get(name))
            if len(problems) >= MAX_PROBLEMS:
                self._refuse(problems)
        arrays = {name: pa.array(values, self._types[name]) for name, values in columns.items()}
        batch = pa.RecordBatch.from_pydict(arrays)
        parsed = parse(batch, self.plain_schema, with_target=False, n_shown=MAX_PROBLEMS)
        named_already = {(problem.row, problem.field) for problem in problems}
        for column, requirement, indices, examples in parsed.violations:
            for index, value in zip(indices.tolist(), examples, strict=False):
                if named_already.isdisjoint({(index, column), (index, "")}):
                    sent = shown(rows[index][column]) if column in rows[index] else value
                    problems.append(Problem(index, column, requirement, sent))
        if problems:
            self._refuse(problems)
        return self._preprocessor.inputs(parsed.rows)

    def _refuse(self, problems: list[Problem]) -> None:
        places = self._places
        problems.sort(key=lambda problem: (problem.row, places.get(problem.field, len(places))))
        raise RowsRefused(problems[:MAX_PROBLEMS])

    def _fields(self, index: int, row: Any, problems: list[Problem]) -> dict[str, Any]:
        """Give the columns of the table that a row sets, and add what is wrong with its form."""
        if type(row) is not dict:
            problems.append(Problem(index, "", "be an object with a value for each column", shown(row)))
            return {}
        found: dict[str, Any] = {}
        for name, column in self.plain_schema.columns.items():
            if isinstance(column, Categorical) and column.one_hot is not None:
                found |= one_hot_fields(index, row, name, column, problems)
            elif name in row:
                try:
                    found[name] = field_of(row[name], column, words=self._words.get(name, {}))
                except ValueError as error:
                    problems.append(Problem(index, name, str(error), shown(row[name])))
            elif getattr(column, "missing", None) == "reject":
                problems.append(Problem(index, name, "be given in each row", "no such field"))
        problems += islice(self._further_problems(index, row), MAX_PROBLEMS)
        return found

    def _further_problems(self, index: int, row: Mapping[str, Any]) -> Iterable[Problem]:
        for name, value in row.items():
            if name not in self._places:
                requirement = f"be a column of the table{suggestion(name, self._places)}"
                yield Problem(index, named(name), requirement, "an unknown field")
            elif name in self._further and type(value) not in FURTHER:
                yield Problem(index, name, "be a text or a number", shown(value))


def field_of(value: Any, column: object, *, words: Mapping[bool, str] | None = None) -> Any:
    """Turn a value of JSON into the number or the text that `canopy.tables.parse` reads.

    Args:
        value: The value.
        column: What the column is.
        words: How the table writes true and false, where it does so in its own way.

    Raises:
        ValueError: If it is of another kind than the column; the message is the requirement.

    Examples:
        >>> field_of(2.0, Categorical()), field_of(True, Categorical(), words={True: "yes"})
        ('2', 'yes')
        >>> field_of("2024-01-31", Datetime(format="%d.%m.%Y"))
        '31.01.2024'
    """
    kind = type(value)
    if value is None:
        return None
    match column:
        case Numeric() if kind in (int, float):
            return float(value)
        case Numeric():
            raise ValueError("be a number")
        case Datetime() if kind is str:
            return time_text(value, column.format)
        case Categorical() if kind is bool:
            return (words or {}).get(value, str(value).lower())
        case Categorical() if kind is str:
            return value
        case Categorical() | Datetime() if kind in (int, float):
            return str(int(value)) if value == int(value) else repr(value)
    raise ValueError("be a text or a number")


def words_among(values: Sequence[str]) -> dict[bool, str]:
    """Find how a column writes true and false.

    Examples:
        >>> words_among(["No", "Perhaps", "Yes"])
        {False: 'No', True: 'Yes'}
    """
    found = {text.lower(): text for text in values}
    return {WORDS[word]: found[word] for word in reversed(WORDS) if word in found}


def time_text(text: str, form: str) -> str:
    """Write a time by ISO 8601 in the format of a column; a text that is none stays as it is."""
    if form == "iso":
        return text
    with suppress(ValueError):
        if form == "epoch":
            float(text)
        else:
            datetime.strptime(text, form)  # noqa: DTZ007 - only whether it is in the format
        return text
    with suppress(ValueError):
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        # The C library writes no leading zeros of a year.
        return (
            repr(time.timestamp())
            if form == "epoch"
            else time.strftime(form.replace("%Y", f"{time.year:04}"))
        )
    return text


def one_hot_fields(
    index: int, row: Mapping[str, Any], name: str, column: Categorical, problems: list[Problem]
) -> dict[str, int | float]:
    """Give the 0/1 columns of a column that is written so, and add what is wrong with them."""
    parts = [*(column.one_hot or ())]
    given = [part for part in parts if part in row]
    value = row.get(name)
    if given and name not in row:
        for part in parts:
            if part not in row:
                problems.append(Problem(index, part, "be given in each row", "no such field"))
            elif type(row[part]) not in (int, float):
                problems.append(Problem(index, part, "be 0 or 1", shown(row[part])))
        return {part: row[part] for part in given if type(row[part]) in (int, float)}
    requirement = f"be left out where {name} is given"
    problems += [Problem(index, part, requirement, shown(row[part])) for part in given]
    form = f"the name of one of its {len(parts)} columns"
    if name in row and value is not None and value not in parts:
        hint = suggestion(value, parts) if isinstance(value, str) else ""
        problems.append(Problem(index, name, f"be {form}", shown(value) + hint))
    elif name not in row and column.missing == "reject":
        problems.append(
            Problem(index, name, f"be given in each row, as {form}, or all of them", "no such field")
        )
    return {part: int(part == value) for part in parts}
