"""Read rows that came as CSV, and write what was predicted for them."""

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from canopy.schema import TableSchema
from canopy.schema.columns import first_repeated
from canopy.serve.problems import Problem, RowsRefused, check_row_count
from canopy.serve.rows import RowReader
from canopy.tables.parse import Parsed, Violation, parse
from canopy.tables.text import records
from canopy.tasks.answers import Answers

# Of a header: each takes memory of its own.
MAX_COLUMNS = 10_000
# Of each kind of problem, values that are reported.
MAX_VALUES = 1000


class CsvRows(NamedTuple):
    """Rows that came as CSV, checked."""

    parsed: Parsed
    # Columns that the table does not have, those that name a row, and the one with labels, if there is one.
    ignored: list[str]
    keys: list[str]
    target: str | None

    def write(self, predictions: NDArray[Any], answers: Answers, *, all_rows: bool) -> bytes:
        """Write predictions of the valid rows as `src/predict.py` does, or of `all_rows`, with problems."""
        table = answers.table(self.parsed.valid_rows(), predictions, keys=self.keys)
        if all_rows:
            table = spread(table, self.parsed.valid)
            for place, name in enumerate(self.keys):
                table = table.set_column(place, name, self.parsed.rows[name])
            reasons = np.full(table.num_rows, None, object)
            # The first problem of a row is the one that stays.
            for column, requirement, rows, values in reversed(self.parsed.violations):
                reasons[rows] = str(Problem(None, column, requirement, "..."))
                shown = [str(Problem(None, column, requirement, value)) for value in values]
                reasons[rows[: len(shown)]] = shown
            table = table.append_column("problem", pa.array(reasons, pa.string()))
        sink = io.BytesIO()
        pyarrow.csv.write_csv(table, sink)
        return sink.getvalue()


def read_csv(text: str, reader: RowReader, *, max_rows: int) -> CsvRows:
    """Read a header and rows, in the dialect of the table's file or with commas and decimal points."""
    header, body, schema = split_header(text.removeprefix("\ufeff").lstrip("\r\n"), reader)
    given = {name: [name] if name in header else schema.file_columns(name) for name in schema.features}
    if missing := [name for name, parts in given.items() if not {*parts} <= {*header}]:
        requirement = "be given in the header, or all of its 0/1 columns"
        raise RowsRefused(Problem(None, name, requirement, "no such column") for name in missing)
    target = schema.target.column if schema.target.column in header else None
    keys = [name for name in schema.keys if name in header]
    # Labels are carried like keys, any value allowed.
    schema = schema.without({*schema.keys}).with_keys([*keys, target] if target else keys)
    names = [*(part for parts in given.values() for part in parts), *schema.keys]
    table, ragged = split_values(body, schema, header, names, max_rows=max_rows)
    n_rows = table.num_rows + len(ragged)
    check_row_count(n_rows, limit=max_rows)
    if not n_rows:
        raise RowsRefused([Problem(None, "rows", "follow the header, at least one", "none")])
    batch = pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], names)
    parsed = parse(batch, schema, with_target=False, n_shown=MAX_VALUES)
    if ragged:
        parsed = insert_ragged(parsed, ragged)
    known = {*names, *reader.unused}
    ignored = [name for name in header if name not in known]
    return CsvRows(parsed, ignored, keys, target)


def split_header(text: str, reader: RowReader) -> tuple[list[str], str, TableSchema]:
    """Read the names of the columns in the dialect in which most are known; gives what follows them too."""
    known = {name for parts in reader.parts.values() for name in parts} | {*reader.parts, *reader.unused}
    found = []
    for file in (reader.schema.file, reader.plain_schema.file):
        # Arrow reads no others.
        if len(file.delimiter.encode()) == 1 and len(file.quote.encode()) <= 1:
            stream = io.StringIO(text, newline="")
            names = next(records(stream, file), [])[: MAX_COLUMNS + 1]
            names = [name.strip() if file.trim else name for name in names]
            header = [name or f"unnamed_{place}" for place, name in enumerate(names, 1)]
            found.append((header, stream.read(), reader.schema.model_copy(update={"file": file})))
    header, body, schema = max(found, key=lambda item: len(known.intersection(item[0])))
    if len(header) > MAX_COLUMNS or (repeated := first_repeated(header)) is not None:
        requirement = f"have at most {MAX_COLUMNS:,} columns, each name once"
        value = f"more than {MAX_COLUMNS:,}" if len(header) > MAX_COLUMNS else f"{repeated!r} twice"
        raise RowsRefused([Problem(None, "the header", requirement, value)])
    return header, body, schema


def split_values(
    body: str, schema: TableSchema, header: list[str], names: list[str], *, max_rows: int
) -> tuple[pa.Table, list[pyarrow.csv.InvalidRow]]:
    """Split records into the texts of some columns; those of another length than the header come apart."""
    quote, delimiter, content = schema.file.quote, schema.file.delimiter, f"{body}\n".encode()
    ragged: list[pyarrow.csv.InvalidRow] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip" if len(ragged) <= max_rows else "error"

    options = pyarrow.csv.ParseOptions(
        delimiter=delimiter, quote_char=quote or False, newlines_in_values=True, invalid_row_handler=skip
    )
    try:
        if quote and body.count(quote) % 2:
            # A quote that is not closed would swallow rows.
            for _ in csv.reader(io.StringIO(body), delimiter=delimiter, quotechar=quote, strict=True):
                pass
        table = pyarrow.csv.read_csv(
            pa.py_buffer(content),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=header),
            options,
            pyarrow.csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, pa.string())),
        )
    except (pa.ArrowInvalid, csv.Error) as error:
        check_row_count(len(ragged), limit=max_rows)
        raise RowsRefused([Problem(None, "the body", "be CSV", str(error))]) from error
    return table, ragged


def insert_ragged(parsed: Parsed, ragged: Sequence[pyarrow.csv.InvalidRow]) -> Parsed:
    """Put rows of another length back in their places, without values."""
    is_whole = np.ones(parsed.rows.num_rows + len(ragged), bool)
    rows = np.array([row.number - 1 for row in ragged])
    is_whole[rows] = False
    places = np.flatnonzero(is_whole)
    shown = [repr(row.text[:60]) for row in ragged[:MAX_VALUES]]
    violations = [Violation("", "have as many values as the header has names", rows, shown)]
    violations += [found._replace(rows=places[found.rows]) for found in parsed.violations]
    return Parsed(spread(parsed.rows, is_whole), violations)


def spread(batch: pa.RecordBatch, places: NDArray[np.bool_]) -> pa.RecordBatch:
    """Put the rows of a batch into some places of a longer one, nulls into the others."""
    return batch.take(pa.array(np.cumsum(places) - 1, mask=~places))
