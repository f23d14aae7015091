"""Turn rows of JSON into what the graph of a bundle takes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa

from canopy.names import nearest
from canopy.prepare.preprocessor import Inputs, Preprocessor, Vocabulary
from canopy.schema import TableSchema
from canopy.schema.columns import Categorical, Column, Numeric
from canopy.schema.file_format import FileFormat
from canopy.serve.json_values import convert, integers_among, words_among
from canopy.serve.problems import MAX_PROBLEMS, Problem, RowsRefused, named, shown
from canopy.tables.convert import is_number, to_texts
from canopy.tables.parse import LARGEST, parse

NUMBER, CATEGORY = {int, float, NoneType}, {str, int, NoneType}
# Longer names are not compared with those of the table.
MAX_COMPARED = 100
# What a 0/1 column is read as.
BIT = Numeric()


class RowReader:
    """Reads rows as mappings from column to value, and checks them against the schema of a table.

    A row has a number for a numeric column, a text, a number or a boolean for a categorical one, and a text
    for a time, by ISO 8601 or in the column's format. A column that is written as 0/1 columns is given by
    them, or by its name and the name of the one that is 1: `{"soil": "soil29"}`. Null, or no such field, is a
    missing value.

    `canopy.tables.parse`, which applies the policies, takes milliseconds for a row. Rows whose numbers are in
    their ranges and whose categories are known need no policy: they are read without it, to the same inputs.

    Args:
        table: The raw table.
        preprocessor: What was learnt from its training rows.

    Attributes:
        schema: The rows that are expected.
        plain_schema: The same, features only, for values with a decimal point and without marks.
        parts: Names of the columns that hold each feature: several for one that is written as 0/1 columns.
        names: The columns that a row may have.
    """

    def __init__(self, table: TableSchema, preprocessor: Preprocessor) -> None:
        self.schema = schema = preprocessor.restrict(table)
        self._preprocessor = preprocessor
        plain = schema.file.model_copy(
            update={"delimiter": ",", "quote": '"', "decimal": ".", "thousands": ""}
        )
        features = {name: schema.columns[name] for name in schema.features}
        self.plain_schema = schema.model_copy(update={"file": plain, "columns": features})
        self.parts = {name: schema.file_columns(name) for name in features}
        self._further = {*schema.keys, *schema.ignored, schema.target.column}
        self.names = dict.fromkeys([*features, *chain(*self.parts.values()), *self._further])
        self._required = {
            name for name in features if getattr(schema.columns[name], "missing", "") == "reject"
        }
        self._words = {name: words_among(found.values) for name, found in preprocessor.categorical.items()}

        self._numeric = [*preprocessor.numeric]
        numeric = [schema.numeric[name] for name in self._numeric]
        self._low = np.array([max(column.low, -LARGEST) for column in numeric])
        self._high = np.array([min(column.high, LARGEST) for column in numeric])
        self._nullable = np.array([column.missing != "reject" for column in numeric], bool)
        nulls = {text for part in (schema.file, *features.values()) for text in part.null_values or ()}
        self._markers = np.array([float(text) for text in nulls if is_number(text)])
        # Name, 0/1 columns if it is written so and what reads them, code of each value.
        self._categorical = [
            (
                name,
                parts := tuple(self.parts[name]),
                itemgetter(*parts),
                code_lookup(column, vocabulary, plain),
            )
            for name, vocabulary in preprocessor.categorical.items()
            for column in [schema.categorical[name]]
        ]

    def read(self, rows: Sequence[Any]) -> Inputs:
        """Read rows that came as JSON objects, B of them.

        Raises:
            RowsRefused: If there is none, or one is wrong.
        """
        if not rows:
            raise RowsRefused([Problem(None, "rows", "be a list of at least one row", "an empty list")])
        # Reading times takes so long that there is no fast way.
        found = None if self.schema.datetime else self.read_known(rows)
        return self.check(rows) if found is None else found

    def read_known(self, rows: Sequence[Any]) -> Inputs | None:
        """Read rows that need no policy; None if a row may need one, or is wrong."""
        try:
            values = [[row[name] for name in self._numeric] for row in rows]
            codes = [self._codes(row) for row in rows]
        except (KeyError, TypeError):
            return None
        if not {*map(type, chain.from_iterable(values))} <= NUMBER:
            return None
        matrix = np.array(values, np.float64).reshape(len(rows), len(self._numeric))
        valid = (matrix >= self._low) & (matrix <= self._high)
        if not (valid | np.isnan(matrix) & self._nullable).all():
            return None
        if self._markers.size and np.isin(matrix, self._markers).any():
            return None
        return Inputs(matrix, np.array(codes, np.int64).reshape(len(rows), len(self._categorical)))

    def _codes(self, row: Mapping[str, Any]) -> list[int]:
        """Give the codes of a row's categories.

        Raises:
            KeyError: If the row may need a policy.
            TypeError: If it is no mapping, or a value cannot be a category.
        """
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
        if len(row) != n_read and len(row) != n_read + len(self._further.intersection(row)):
            raise KeyError
        return codes

    def check(self, rows: Sequence[Any]) -> Inputs:
        """Read rows value by value, apply the policies, and name all that is wrong."""
        fields: list[dict[str, Any]] = []
        problems: list[Problem] = []
        for index, row in enumerate(rows):
            fields.append(self._fields(index, row, problems))
            if len(problems) >= MAX_PROBLEMS:
                raise RowsRefused(problems)
        columns = {
            part: pa.array([found.get(part) for found in fields], pa.string() if is_text else pa.float64())
            for name, parts in self.parts.items()
            for is_text in [parts == [name] and name not in self.schema.numeric]
            for part in parts
        }
        batch = pa.RecordBatch.from_pydict(columns)
        parsed = parse(batch, self.plain_schema, with_target=False, n_shown=MAX_PROBLEMS)
        named_already = {(problem.row, problem.field) for problem in problems}
        for column, requirement, indices, examples in parsed.violations:
            for index, value in zip(indices.tolist(), examples, strict=False):
                if named_already.isdisjoint({(index, column), (index, "")}):
                    sent = shown(rows[index][column]) if column in rows[index] else value
                    problems.append(Problem(index, column, requirement, sent))
        if problems:
            raise RowsRefused(sorted(problems, key=lambda problem: problem.row or 0))
        return self._preprocessor.inputs(parsed.rows)

    def _fields(self, index: int, row: Any, problems: list[Problem]) -> dict[str, Any]:
        """Give the columns of the file that a row sets, and add what is wrong with its form."""
        if type(row) is not dict:
            problems.append(Problem(index, "", "be an object with a value for each column", shown(row)))
            return {}
        found: dict[str, Any] = {}
        sent: list[tuple[str, Column]] = []
        for name, column in self.plain_schema.columns.items():
            parts, value = self.parts[name], row.get(name)
            if parts == [name]:
                sent.append((name, column))
            elif name not in row and any(part in row for part in parts):
                sent += [(part, BIT) for part in parts]
            else:
                found |= {part: float(part == value) for part in parts}
                if value is not None and value not in parts:
                    form = f"be the name of one of its {len(parts)} columns{suggest(value, parts)}"
                    problems.append(Problem(index, name, form, shown(value)))
        for field, kind in sent:
            try:
                found[field] = convert(row.get(field), kind, words=self._words.get(field, {}))
            except ValueError as error:
                problems.append(Problem(index, field, str(error), shown(row[field])))
        problems += [Problem(index, *found) for found in self.check_names(row, "each row", self._required)]
        for name in [name for name in row if name not in self.names][:MAX_PROBLEMS]:
            requirement = f"be a column of the table{suggest(name, self.names)}"
            problems.append(Problem(index, named(name), requirement, "an unknown field"))
        return found

    def check_names(
        self, names: Collection[str], place: str, required: Collection[str]
    ) -> Iterator[tuple[str, str, str]]:
        """Find features that are not among the names in a row or header, or that two forms give.

        Yields:
            Field, requirement, and what was found.
        """
        for name, parts in self.parts.items():
            given = [part for part in parts if part in names]
            if parts != [name] and name in names:
                for part in given:
                    yield part, f"be left out where {name} is given", "both"
            elif given:
                for part in [part for part in parts if part not in names]:
                    yield part, f"be given in {place}", "no such field"
            elif name in required:
                instead = f", or its {len(parts)} columns" if parts != [name] else ""
                yield name, f"be given in {place}{instead}", "no such field"


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
        lookup |= {number: lookup[text] for text, number in integers_among(lookup).items()}
    return lookup


def suggest(name: Any, names: Iterable[str]) -> str:
    """Suggest the name that was probably meant, unless what was sent is too long to be compared."""
    return nearest(name, names) if isinstance(name, str) and len(name) <= MAX_COMPARED else ""
