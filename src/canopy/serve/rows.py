"""Turn rows of JSON into what the graph of a bundle takes."""

import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from operator import itemgetter
from types import NoneType
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from starlette.exceptions import HTTPException

from canopy.prepare.preprocessor import Inputs, Preprocessor, Vocabulary
from canopy.schema import TableSchema
from canopy.schema.columns import Categorical, Column, Datetime, Numeric
from canopy.schema.table import FileFormat
from canopy.serve.problems import MAX_PROBLEMS, Problem, RowsRefused, check_row_count, first_problems
from canopy.tables.convert import is_number, to_texts
from canopy.tables.parse import LARGEST, parse

# How tables write true and false; the first that a column has counts.
WORDS = {"true": True, "false": False, "yes": True, "no": False, "t": True, "f": False, "y": True, "n": False}
NUMBER, CATEGORY = {int, float, NoneType}, {str, int, NoneType}
INTEGER = re.compile("0|-?[1-9][0-9]{0,18}")
# Of a name that a client made up.
MAX_SHOWN = 80
# Brackets that a body may have besides two for each row; each makes an object, millions make gigabytes.
SPARE_BRACKETS = 1000


def parse_rows(body: bytes, *, max_rows: int) -> list[Any]:
    """Give the rows of a JSON body."""
    check_row_count((body.count(b"{") + body.count(b"[") - SPARE_BRACKETS) // 2, limit=max_rows)
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"The body must be JSON; got {error}") from error
    if type(content) is not dict or type(content.get("rows")) is not list or len(content) != 1:
        form = '{"rows": [{"column": value, ...}]}'
        raise HTTPException(422, f"The body must be an object with a list of rows: {form}")
    rows: list[Any] = content["rows"]
    check_row_count(len(rows), limit=max_rows)
    if not rows:
        raise RowsRefused([Problem(None, "rows", "be a list of at least one row", "an empty list")])
    return rows


class RowReader:
    """Reads rows as mappings from column to value, and checks them against the schema of a table.

    Null, or no such field, is a missing value. A column that is written as 0/1 columns is given by them, or
    by its name and the name of the one that is 1: `{"soil": "soil29"}`.
    """

    def __init__(self, table: TableSchema, preprocessor: Preprocessor) -> None:
        self.schema = schema = preprocessor.restrict(table)
        self._preprocessor = preprocessor
        # Features only, values with a decimal point and without marks.
        plain = schema.file.model_copy(
            update={"delimiter": ",", "quote": '"', "decimal": ".", "thousands": ""}
        )
        features = {name: schema.columns[name] for name in schema.features}
        self.plain_schema = schema.model_copy(update={"file": plain, "columns": features})
        self.parts = {name: schema.file_columns(name) for name in features}
        self.unused = {*schema.keys, *schema.ignored, schema.target.column}
        self._numeric = [*preprocessor.numeric]
        numeric = [schema.numeric[name] for name in self._numeric]
        self._low = np.array([max(column.low, -LARGEST) for column in numeric])
        self._high = np.array([min(column.high, LARGEST) for column in numeric])
        self._nullable = np.array([column.missing != "reject" for column in numeric], bool)
        nulls = {text for part in (schema.file, *features.values()) for text in part.null_values or ()}
        self._markers = np.array([float(text) for text in nulls if is_number(text)])
        # Name, 0/1 columns if it is written so and what reads them, code of each value.
        self._categorical: list[tuple[str, list[str], Callable[[Any], Any], dict[Any, int]]] = []
        for name, vocabulary in preprocessor.categorical.items():
            lookup = code_lookup(schema.categorical[name], vocabulary, plain)
            self._categorical.append((name, self.parts[name], itemgetter(*self.parts[name]), lookup))
        self._words = {name: words_among(part.values) for name, part in preprocessor.categorical.items()}

    def read(self, rows: Sequence[Any]) -> Inputs:
        # `parse`, which applies the policies, takes milliseconds for a row. Reading times takes as long.
        found = None if self.schema.datetime else self.read_known(rows)
        return self.check(rows) if found is None else found

    def read_known(self, rows: Sequence[Any]) -> Inputs | None:
        """Read rows of known categories and numbers in their ranges; None if a row may need a policy."""
        try:
            values = [[row[name] for name in self._numeric] for row in rows]
            codes = [self._codes(row) for row in rows]
        except (KeyError, TypeError):
            return None
        if not {*map(type, chain.from_iterable(values))} <= NUMBER:
            return None
        matrix = np.array(values, np.float64).reshape(len(rows), len(self._numeric))
        valid = (matrix >= self._low) & (matrix <= self._high) | np.isnan(matrix) & self._nullable
        if not valid.all() or (self._markers.size and np.isin(matrix, self._markers).any()):
            return None
        return Inputs(matrix, np.array(codes, np.int64).reshape(len(rows), len(self._categorical)))

    def _codes(self, row: Mapping[str, Any]) -> list[int]:
        """Give the codes of a row's categories; KeyError or TypeError if it may need a policy."""
        codes, n_read = [], len(self._numeric)
        for name, parts, read, lookup in self._categorical:
            if name in row:
                value = row[name]
                n_read += 1
            else:
                bits = read(row)
                if not {*map(type, bits)} <= NUMBER or bits.count(1) != 1 or bits.count(0) != len(bits) - 1:
                    raise KeyError
                value = parts[bits.index(1)]
                n_read += len(parts)
            if type(value) not in CATEGORY:
                raise KeyError
            codes.append(lookup[value])
        if len(row) != n_read and len(row) != n_read + len(self.unused.intersection(row)):
            raise KeyError
        return codes

    def check(self, rows: Sequence[Any]) -> Inputs:
        """Read rows value by value, apply the policies, and name all that is wrong."""
        cells: list[dict[str, Any]] = []
        problems: list[Problem] = []
        for index, row in enumerate(rows):
            cells.append(self._cells(index, row, problems))
            if len(problems) >= MAX_PROBLEMS:
                raise RowsRefused(problems)
        columns: dict[str, pa.Array] = {}
        for name, parts in self.parts.items():
            kind = pa.string() if parts == [name] and name not in self.schema.numeric else pa.float64()
            columns |= {part: pa.array([row.get(part) for row in cells], kind) for part in parts}
        batch = pa.RecordBatch.from_pydict(columns)
        parsed = parse(batch, self.plain_schema, with_target=False, n_shown=MAX_PROBLEMS)
        # The cells of these are empty, which is not what is wrong with them.
        named = {(problem.row, problem.field) for problem in problems}
        found = first_problems(parsed.violations)
        if problems := problems + [problem for problem in found if (problem.row, problem.field) not in named]:
            raise RowsRefused(problems)
        return self._preprocessor.inputs(parsed.rows)

    def _cells(self, index: int, row: Any, problems: list[Problem]) -> dict[str, Any]:
        """Give the values of the file's columns that a row sets, and add what is wrong with its form."""
        if type(row) is not dict:
            requirement = "be an object with a value for each column"
            raise RowsRefused([*problems, Problem(index, "", requirement, reprlib.repr(row))])
        cells: dict[str, Any] = {}
        unread = row.keys() - self.unused
        for name, column in self.plain_schema.columns.items():
            parts, value = self.parts[name], row.get(name)
            is_short = parts != [name] and (name in row or unread.isdisjoint(parts))
            if is_short:
                cells |= {part: float(part == value) for part in parts}
                if value is not None and value not in parts:
                    requirement = f"be the name of one of its {len(parts)} columns"
                    problems.append(Problem(index, name, requirement, reprlib.repr(value)))
            for field in [] if is_short else parts:
                try:
                    cells[field] = as_cell(row.get(field), column, self._words.get(name, {}))
                except ValueError as error:
                    problems.append(Problem(index, field, str(error), reprlib.repr(row[field])))
            unread -= {name} if is_short else {*parts}
        form, fields = "be a column of the table that is not given already", sorted(unread)[:MAX_PROBLEMS]
        problems += [Problem(index, field[:MAX_SHOWN], form, "an unknown field") for field in fields]
        return cells


def words_among(values: Sequence[str]) -> dict[bool, str]:
    """Find how a column writes true and false: {False: "No", True: "Yes"} for No, Perhaps, Yes."""
    found = {text.lower(): text for text in values}
    return {WORDS[word]: found[word] for word in reversed(WORDS) if word in found}


def as_cell(value: Any, column: Column, words: Mapping[bool, str]) -> float | str | None:
    """Turn a value of JSON into what `parse` reads; a ValueError has the requirement."""
    kind = type(value)
    if value is None:
        return None
    if isinstance(column, Numeric) or getattr(column, "one_hot", None):
        if kind in (int, float):
            return float(value)
        raise ValueError("be a number")
    if kind is str:
        return as_time(value, column.format) if isinstance(column, Datetime) else str(value)
    if kind is bool and isinstance(column, Categorical):
        return words.get(value, str(value).lower())
    if kind in (int, float):
        return str(int(value)) if value == int(value) else repr(value)
    raise ValueError("be a text or a number")


def as_time(text: str, form: str) -> str:
    """Write a time by ISO 8601 in the format of a column; any other text stays as it is."""
    if form == "iso":
        return text
    with suppress(ValueError):
        _ = float(text) if form == "epoch" else datetime.strptime(text, form)  # noqa: DTZ007
        return text
    with suppress(ValueError, OverflowError):
        time = datetime.fromisoformat(text)
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        # The C library writes no leading zeros of a year.
        year = f"{time.year:04}"
        return repr(time.timestamp()) if form == "epoch" else time.strftime(form.replace("%Y", year))
    return text


def integers_among(texts: Sequence[str | None]) -> dict[str, int]:
    """Find the texts that JSON may have as an integer."""
    return {text: int(text) for text in texts if text is not None and INTEGER.fullmatch(text)}


def code_lookup(column: Categorical, vocabulary: Vocabulary, file_format: FileFormat) -> dict[Any, int]:
    """Give the code of each value that a field with a known category may have in JSON."""
    known = vocabulary.values if column.one_hot is None and column.unseen == "other" else ()
    texts = pa.array([*dict.fromkeys([*(column.listed or ()), *known]), None], pa.string())
    if column.one_hot is None:
        texts = to_texts(texts, column, file_format)
    lookup: dict[Any, int] = dict(zip(texts.to_pylist(), vocabulary.encode(texts)[0].tolist(), strict=True))
    if column.missing != "category":
        del lookup[None]
    if column.one_hot is None:
        lookup |= {number: lookup[text] for text, number in integers_among([*lookup]).items()}
    return lookup
