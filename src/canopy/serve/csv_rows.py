"""Read rows that came as CSV, and write what was predicted for them."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from canopy.evaluation.predictions import PredictionColumns
from canopy.prepare.preprocessor import Vocabulary
from canopy.schema import TableSchema
from canopy.serve.problems import MAX_PROBLEMS, Problem, RowsRefused, TooManyRows
from canopy.serve.rows import RowReader
from canopy.tables.parse import Parsed, parse
from canopy.tables.text import records

# Of a header: each takes memory of its own.
MAX_COLUMNS = 10_000
# Of each kind of problem, values that are reported.
MAX_VALUES = 1000


@dataclass(frozen=True)
class CsvRows:
    """Rows that came as CSV, checked.

    Attributes:
        n_rows: How many there are.
        parsed: Those that have as many values as the header has names.
        places: Index of each of these among all rows, shape (n_parsed,).
        ragged: What is wrong with the other rows.
        ignored: Columns that the table does not have.
        keys: Columns that name a row.
        target: Column with labels; None if there is none.
    """

    n_rows: int
    parsed: Parsed
    places: NDArray[np.int64]
    ragged: list[Problem]
    ignored: list[str]
    keys: list[str]
    target: str | None

    def problems(self) -> list[Problem]:
        """Give the first `MAX_PROBLEMS`, ordered by row."""
        found = self.ragged[:MAX_PROBLEMS]
        for column, requirement, rows, values in self.parsed.violations:
            first = zip(self.places[rows[:MAX_PROBLEMS]].tolist(), values, strict=False)
            found += [Problem(row, column, requirement, value) for row, value in first]
        return sorted(found, key=lambda problem: problem.row or 0)[:MAX_PROBLEMS]

    def reasons(self) -> dict[int, str]:
        """Give for each row that is not valid what is wrong with it: the first problem, and how many more."""
        first = {problem.row: str(problem) for problem in self.ragged if problem.row is not None}
        counts = np.zeros(self.n_rows, np.int64)
        for column, requirement, rows, values in self.parsed.violations:
            found = self.places[rows]
            fresh = np.flatnonzero(counts[found] == 0)
            counts[found] += 1
            for index, row in zip(fresh.tolist(), found[fresh].tolist(), strict=True):
                value = f"; got {values[index]}" if index < len(values) else ""
                first[row] = f"{column} must {requirement}{value}"
        more = {row: f" ({counts[row] - 1} more)" if counts[row] > 1 else "" for row in first}
        return {row: reason + more[row] for row, reason in first.items()}

    def score(self, probabilities: NDArray[np.float32], classes: Sequence[str]) -> tuple[int, int]:
        """Count the valid rows whose label is a class, and those of them that are predicted correctly."""
        if self.target is None:
            return 0, 0
        codes, _ = Vocabulary(values=tuple(classes)).encode(self.parsed.valid_rows()[self.target])
        n_correct = np.count_nonzero(codes == probabilities.argmax(axis=1))
        return int(np.count_nonzero(codes < len(classes))), int(n_correct)

    def write(
        self, probabilities: NDArray[np.float32], classes: Mapping[str, str], *, all_rows: bool
    ) -> bytes:
        """Write predictions as `src/predict.py` does: keys, label, class, probability of each class.

        Args:
            probabilities: Of the valid rows, shape (n_valid, K).
            classes: Value in the table and name of each class.
            all_rows: Whether the other rows have lines too, with the reason in a column `problem`.
        """
        table = PredictionColumns(self.keys, classes)(self.parsed.valid_rows(), probabilities)
        if all_rows:
            reasons = self.reasons()
            predicted = spread(self.places[self.parsed.valid], self.n_rows)
            read = spread(self.places, self.n_rows)
            columns = [self.parsed.rows[name].take(read) for name in self.keys]
            columns += [column.take(predicted) for column in table.columns[len(self.keys) :]]
            columns.append(pa.array([reasons.get(row) for row in range(self.n_rows)], pa.string()))
            table = pa.RecordBatch.from_arrays(columns, [*table.schema.names, "problem"])
        sink = io.BytesIO()
        pyarrow.csv.write_csv(table, sink)
        return sink.getvalue()


def read_csv(text: str, reader: RowReader, *, max_rows: int) -> CsvRows:
    """Read rows that came as CSV with a header line.

    The columns may be in any order, with others among them. A column that is written as 0/1 columns may be
    given under its own name, as in JSON.

    Args:
        text: The CSV, in the dialect of the table's file, or with commas and decimal points.
        reader: What knows the table.
        max_rows: Most rows that are read.

    Raises:
        RowsRefused: If a column is missing or named twice, there is no row, or the text is not CSV.
        TooManyRows: If there are more rows.
    """
    text = text.removeprefix("\ufeff").lstrip("\r\n")
    header, schema = read_header(text, reader)
    if problems := [*islice(header_problems(header, schema), MAX_PROBLEMS)]:
        raise RowsRefused(problems)
    target = schema.target.column
    keys = [name for name in schema.keys if name in header]
    # Labels are carried like keys, any value allowed.
    schema = schema.without({*schema.keys}).with_keys([*keys, target] if target in header else keys)
    given = {name: [name] if name in header else schema.file_columns(name) for name in schema.features}
    names = [*(part for parts in given.values() for part in parts), *schema.keys]
    ragged: dict[int, int] = {}
    table = split_values(text, schema, [header.index(name) for name in names], ragged, max_rows=max_rows)
    n_rows = table.num_rows + len(ragged)
    if n_rows > max_rows:
        raise TooManyRows(max_rows, f"{n_rows:,}")
    if not n_rows:
        raise RowsRefused([Problem(None, "rows", "follow the header, at least one", "none")])
    batch = pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], names)
    requirement = f"have one value for each of {len(header)} columns"
    return CsvRows(
        n_rows,
        parse(batch, schema, with_target=False, n_shown=MAX_VALUES),
        np.delete(np.arange(n_rows), [*ragged]),
        [Problem(row, "", requirement, str(n_values)) for row, n_values in ragged.items()],
        [name for name in header if name not in reader.names],
        keys,
        target if target in header else None,
    )


def read_header(text: str, reader: RowReader) -> tuple[list[str], TableSchema]:
    """Read the names of the columns, and find the dialect in which most of them are known."""
    schemas = [reader.schema, reader.schema.model_copy(update={"file": reader.plain_schema.file})]
    found = []
    for schema in schemas:
        # Arrow reads no others.
        if len(schema.file.delimiter.encode()) == 1 and len(schema.file.quote.encode()) <= 1:
            names = next(records(io.StringIO(text, newline=""), schema.file), [])
            names = [name.strip() if schema.file.trim else name for name in names]
            found.append(([name or f"unnamed_{place}" for place, name in enumerate(names, 1)], schema))
    return max(found, key=lambda item: len(reader.names.intersection(item[0])))


def header_problems(header: Sequence[str], schema: TableSchema) -> Iterator[Problem]:
    if len(header) > MAX_COLUMNS:
        yield Problem(None, "the header", f"have at most {MAX_COLUMNS:,} columns", f"{len(header):,}")
        return
    counts = Counter(header)
    for name in schema.features:
        parts = schema.file_columns(name)
        given = [part for part in parts if part in counts]
        if parts != [name] and name in counts:
            for part in given:
                yield Problem(None, part, f"be left out where {name} is given", "it in the header")
        elif not given:
            instead = f", or its {len(parts)} columns" if parts != [name] else ""
            yield Problem(None, name, f"be a column of the header{instead}", "no such column")
        else:
            for part in (part for part in parts if part not in counts):
                yield Problem(None, part, "be a column of the header", "no such column")
        for part in dict.fromkeys([name, *parts]):
            if counts[part] > 1:
                yield Problem(None, part, "be named once in the header", f"it {counts[part]} times")


def split_values(
    text: str, schema: TableSchema, places: Sequence[int], ragged: dict[int, int], *, max_rows: int
) -> pa.Table:
    """Split the records below the header into texts, in the dialect of a schema.

    Records with too many or too few values are left out; `ragged` is filled with how many each has.
    """
    quote, body = schema.file.quote, f"{text}\n".encode()
    if quote and text.count(quote) % 2:
        refuse_open_quote(text, schema)

    def note(record: pa.csv.InvalidRow) -> str:
        # The header is the first.
        ragged[record.number - 2] = record.actual_columns
        return "skip" if len(ragged) <= max_rows else "error"

    names = [f"f{place}" for place in places]
    try:
        return pyarrow.csv.read_csv(
            pa.py_buffer(body),
            pyarrow.csv.ReadOptions(
                use_threads=False,
                block_size=len(body) + 1,
                # By number, since names may occur twice.
                autogenerate_column_names=True,
                skip_rows_after_names=1,
            ),
            pyarrow.csv.ParseOptions(
                delimiter=schema.file.delimiter,
                quote_char=quote or False,
                newlines_in_values=True,
                invalid_row_handler=note,
            ),
            pyarrow.csv.ConvertOptions(
                include_columns=names,
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if len(ragged) > max_rows:
            raise TooManyRows(max_rows, f"more than {max_rows:,}") from error
        raise RowsRefused([Problem(None, "the body", "be CSV", str(error))]) from error


def refuse_open_quote(text: str, schema: TableSchema) -> None:
    """Refuse a text at whose end a quoted value is not closed, which would swallow rows."""
    file, marks, n_rows = io.StringIO(text, newline=""), schema.file, -1
    try:
        for record in csv.reader(file, delimiter=marks.delimiter, quotechar=marks.quote, strict=True):
            n_rows += bool(record)
    except csv.Error as error:
        raise RowsRefused([Problem(max(n_rows, 0), "", "be a line of CSV", str(error))]) from error


def spread(places: NDArray[np.int64], n_rows: int) -> pa.Array:
    """Give the place of each row in a list of some rows; null for the others."""
    found = np.full(n_rows, -1)
    found[places] = np.arange(len(places))
    return pa.array(found, mask=found < 0)
