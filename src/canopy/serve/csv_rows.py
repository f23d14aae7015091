"""Read rows that came as CSV, and write what was predicted for them."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from canopy.evaluation.predictions import PredictionColumns
from canopy.prepare.preprocessor import Vocabulary
from canopy.schema import TableSchema
from canopy.serve.problems import MAX_PROBLEMS, Problem, RowsRefused, TooManyRows
from canopy.serve.rows import RowReader
from canopy.tables.parse import Parsed, Violation, parse
from canopy.tables.text import records

# Of a header: each takes memory of its own.
MAX_COLUMNS = 10_000
# Of each kind of problem, values that are reported.
MAX_VALUES = 1000


@dataclass(frozen=True)
class CsvRows:
    """Rows that came as CSV, checked.

    Attributes:
        parsed: The rows, and what is wrong with some.
        ignored: Columns that the table does not have.
        keys: Columns that name a row.
        target: Column with labels; None if there is none.
    """

    parsed: Parsed
    ignored: list[str]
    keys: list[str]
    target: str | None

    def problems(self) -> list[Problem]:
        """Give the first `MAX_PROBLEMS`, ordered by row."""
        found = [
            Problem(row, column, requirement, value)
            for column, requirement, rows, values in self.parsed.violations
            for row, value in zip(rows[:MAX_PROBLEMS].tolist(), values, strict=False)
        ]
        return sorted(found, key=lambda problem: problem.row or 0)[:MAX_PROBLEMS]

    def reasons(self) -> dict[int, str]:
        """Give for each row that is not valid what is wrong with it: the first problem, and how many more."""
        first: dict[int, str] = {}
        counts: Counter[int] = Counter()
        for column, requirement, rows, values in self.parsed.violations:
            numbers = rows.tolist()
            counts.update(numbers)
            for row, value in zip(numbers, chain(values, repeat("...")), strict=False):
                if row not in first:
                    first[row] = str(Problem(row, column, requirement, value))
        more = {row: f" ({count - 1} more)" if count > 1 else "" for row, count in counts.items()}
        return {row: text + more[row] for row, text in first.items()}

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
            valid, reasons = self.parsed.valid, self.reasons()
            table = spread(table, np.flatnonzero(valid), len(valid))
            for name in self.keys:
                table = table.set_column(table.schema.names.index(name), name, self.parsed.rows[name])
            texts = pa.array([reasons.get(row) for row in range(len(valid))], pa.string())
            table = table.append_column("problem", texts)
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
    refuse_header(header, reader)
    target = schema.target.column if schema.target.column in header else None
    keys = [name for name in schema.keys if name in header]
    # Labels are carried like keys, any value allowed.
    schema = schema.without({*schema.keys}).with_keys([*keys, target] if target else keys)
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
    parsed = parse(batch, schema, with_target=False, n_shown=MAX_VALUES)
    if ragged:
        places = np.delete(np.arange(n_rows), [*ragged])
        requirement = f"have one value for each of {len(header)} columns"
        violations = [Violation("", requirement, np.array([*ragged]), [*map(str, ragged.values())])]
        violations += [found._replace(rows=places[found.rows]) for found in parsed.violations]
        parsed = Parsed(spread(parsed.rows, places, n_rows), violations)
    return CsvRows(parsed, [name for name in header if name not in reader.names], keys, target)


def read_header(text: str, reader: RowReader) -> tuple[list[str], TableSchema]:
    """Read the names of the columns, and find the dialect in which most of them are known."""
    found = []
    for file in (reader.schema.file, reader.plain_schema.file):
        # Arrow reads no others.
        if len(file.delimiter.encode()) == 1 and len(file.quote.encode()) <= 1:
            names = next(records(io.StringIO(text, newline=""), file), [])
            names = [name.strip() if file.trim else name for name in names]
            header = [name or f"unnamed_{place}" for place, name in enumerate(names, 1)]
            found.append((header, reader.schema.model_copy(update={"file": file})))
    return max(found, key=lambda item: len(reader.names.keys() & item[0]))


def refuse_header(header: Sequence[str], reader: RowReader) -> None:
    """Refuse a header in which a feature is missing or named twice."""
    if len(header) > MAX_COLUMNS:
        requirement = f"have at most {MAX_COLUMNS:,} columns"
        raise RowsRefused([Problem(None, "the header", requirement, f"{len(header):,}")])
    counts = Counter(header)
    found = [*reader.check_names(counts, "the header", reader.parts)]
    repeated = [name for name in reader.names if counts[name] > 1]
    found += [(name, "be named once in the header", f"it {counts[name]} times") for name in repeated]
    if found:
        raise RowsRefused([Problem(None, *problem) for problem in found])


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


def spread(rows: pa.RecordBatch, places: NDArray[np.int64], n_rows: int) -> pa.RecordBatch:
    """Put rows at their places among `n_rows`, the others null."""
    found = np.full(n_rows, -1)
    found[places] = np.arange(len(places))
    return rows.take(pa.array(found, mask=found < 0))
