"""Read a file of any size: plain CSV with Arrow, other CSV and JSON lines with DuckDB, Parquet."""

import codecs
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from canopy.cores import usable_cores
from canopy.names import shorten
from canopy.places import require_file
from canopy.schema.columns import first_repeated
from canopy.schema.table import COMPRESSIONS, FileFormat
from canopy.tables.chunks import read_chunks
from canopy.tables.parse import Problem
from canopy.tables.text import is_utf8, open_text, record_starts, records

if TYPE_CHECKING:
    import duckdb
    import pyarrow.parquet as pq

BATCH_ROWS = 65_536
MEMORY_LIMIT = "512MB"
# So many objects of JSON lines are searched for keys, since one may leave out what it has no value for.
N_OBJECTS = 1000
# No `auto_detect`, which guesses from the first rows.
READ_CSV = """SELECT {chosen} FROM read_csv($path, auto_detect=false, header=true, delim=$delimiter,
    quote=$quote, escape=$quote, columns={{{types}}}, store_rejects=true, rejects_table='line_errors',
    rejects_scan='line_error_scans', rejects_limit=0)"""
# Of a line with too few values there is one entry for each that is missing.
READ_LINE_ERRORS = "SELECT DISTINCT ON (line) line, error_type, csv_line FROM line_errors ORDER BY line"
# DuckDB's names of what is wrong with a line, and what a line must do instead.
LINE_REQUIREMENTS = {
    "UNQUOTED VALUE": "have a delimiter after a closing quote",
    "INVALID ENCODING": "be text in the encoding of table.file",
}


@dataclass
class TableFile:
    """One file of a table; `.gz` and `.zst` are decompressed."""

    path: Path
    file_format: FileFormat
    # Lines that were left out, complete once `batches` has been exhausted.
    line_errors: list[Problem] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        require_file(self.path, name="The table ")
        if (name := first_repeated(self.names)) is not None:
            raise ValueError(f"{self.path} must name each column once; got {name!r} twice in its header")

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns, in the order of the file; `unnamed_1` for the first one if it has none."""
        dialect = self.file_format
        if dialect.format == "parquet":
            names = self._parquet().schema_arrow.names
        elif dialect.format == "jsonl":
            names = [*dict.fromkeys(name for found in self._objects() for name in found)]
        else:
            with open_text(self.path, dialect) as text:
                names = [name.strip() if dialect.trim else name for name in next(records(text, dialect), [])]
            if not names:
                raise ValueError(f"{self.path} must hold a header and rows; got an empty file or line")
        return [name or f"unnamed_{index}" for index, name in enumerate(names, 1)]

    @cached_property
    def unusable(self) -> dict[str, str]:
        """Columns whose values are not numbers, texts or times, and what they are."""
        if self.file_format.format == "parquet":
            fields = self._parquet().schema_arrow
            return {found.name: shorten(found.type) for found in fields if not _is_usable(found.type)}
        objects = self._objects() if self.file_format.format == "jsonl" else ()
        items = [item for found in objects for item in found.items() if item[1] not in (None, [], {})]
        plain = {name for name, value in items if not isinstance(value, list | dict)}
        return dict.fromkeys({name for name, _ in items} - plain, "lists or objects")

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read columns, of CSV as text, of other formats in their types; a ValueError if that fails."""
        self.line_errors.clear()
        dialect = self.file_format
        if dialect.format == "parquet":
            for name in self.unusable.keys() & {*columns}:
                raise ValueError(
                    f"{self.path}: column {name!r} must hold numbers, texts or times; got "
                    f"{self.unusable[name]}: set its kind to ignored"
                )
            for batch in self._parquet().iter_batches(BATCH_ROWS, columns=[*columns]):
                yield batch.select(columns)
            return
        n_read, is_csv = 0, dialect.format == "csv" and self.path.suffix not in COMPRESSIONS
        if is_csv and is_utf8(dialect.encoding) and len(self.names) > 1:
            types, forbidden = dict.fromkeys(columns, pa.string()), dialect.quote.encode()
            # Arrow takes a third of the time. Where the file has another form, DuckDB continues.
            with suppress(ValueError):
                for batch in read_chunks(
                    self.path, self.names, types, delimiter=dialect.delimiter, forbidden=forbidden
                ):
                    n_read += batch.num_rows
                    yield batch
                return
        for batch in self._duckdb_batches(columns):
            rows = batch.slice(n_read)
            n_read = max(0, n_read - batch.num_rows)
            if rows.num_rows:
                yield rows.rename_columns([*columns])

    def lines(self, rows: Iterable[int]) -> dict[int, int]:
        """Find the lines of some rows, which count from 0; of Parquet, rows from 1."""
        wanted = {*rows}
        if self.file_format.format == "parquet" or not wanted:
            return {row: row + 1 for row in wanted}
        left_out = {error.line for error in self.line_errors}
        with open_text(self.path, self.file_format) as text:
            kept = (start for _, start in record_starts(text, self.file_format) if start not in left_out)
            numbered = enumerate(itertools.islice(kept, max(wanted) + 1))
            return {row: start for row, start in numbered if row in wanted}

    def _duckdb_batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        # Here, since plain CSV and Parquet do without it.
        import duckdb

        dialect, path = self.file_format, str(self.path)
        try:
            with open_duckdb() as connection, tempfile.NamedTemporaryFile(suffix=".csv") as copy:
                if dialect.format == "jsonl":
                    keys = [name.replace("\\", r"\\").replace('"', r"\"") for name in columns]
                    values = ", ".join(f"json ->> ${index}" for index in range(2, len(keys) + 2))
                    scan = f"SELECT {values} FROM read_ndjson_objects($1)"  # noqa: S608 - of numbers only
                    found = connection.sql(scan, params=[path, *(f'$."{key}"' for key in keys)])
                    yield from found.to_arrow_reader(BATCH_ROWS)
                    return
                if not is_utf8(dialect.encoding):
                    with open_text(self.path, dialect) as text:
                        shutil.copyfileobj(text, codecs.getwriter("utf-8")(copy), 2**20)
                    copy.flush()
                    path = copy.name
                # By position: DuckDB compares names without case, and changes some.
                chosen = ", ".join(f"c{self.names.index(name)}" for name in columns)
                types = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(self.names)))
                params = {"path": path, "delimiter": dialect.delimiter, "quote": dialect.quote}
                query = READ_CSV.format(chosen=chosen, types=types)
                yield from connection.sql(query, params=params).to_arrow_reader(BATCH_ROWS)
                self.line_errors += self._problems(connection.sql(READ_LINE_ERRORS).fetchall())
        except duckdb.Error as error:
            raise ValueError(
                f"{self.path} must be a well-formed {dialect.format} file, line ends of one kind; "
                f"got: {str(error).strip().splitlines()[0]}"
            ) from error

    def _problems(self, line_errors: Sequence[tuple[int, str, str | None]]) -> Iterator[Problem]:
        """Give the lines of what DuckDB rejects, since it counts records."""
        wanted = {number for number, *_ in line_errors}
        starts: dict[int, int] = {}
        if wanted:
            # Behind bytes that are no text, the number of the record has to do.
            with suppress(ValueError), open_text(self.path, self.file_format) as text:
                starts |= (pair for pair in record_starts(text, self.file_format) if pair[0] in wanted)
        for number, kind, content in line_errors:
            form = LINE_REQUIREMENTS.get(str(kind), "have as many values as the header has names")
            line, value = starts.get(number, number), repr((content or "").strip()[:60])
            yield Problem(str(self.path), line, "", form, value)

    def _parquet(self) -> "pq.ParquetFile":
        # Here, since most tables are CSV.
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.path)

    def _objects(self) -> Iterator[dict[str, Any]]:
        with open_text(self.path, self.file_format) as text:
            for number, line in enumerate(itertools.islice(text, N_OBJECTS), 1):
                try:
                    yield {**json.loads(line)} if line.strip() else {}
                except (ValueError, TypeError) as error:
                    raise ValueError(
                        f"{self.path} must have one JSON object per line, as pandas writes with lines=True; "
                        f"got {line[:60]!r} in line {number}"
                    ) from error


def _is_usable(kind: pa.DataType) -> bool:
    name = str(kind.value_type if pa.types.is_dictionary(kind) else kind)
    return bool(re.match("bool|u?int|half|float|double|decimal|date|timestamp|(large_)?string|null", name))


@contextmanager
def open_duckdb(*, on_disk: bool = False) -> Iterator["duckdb.DuckDBPyConnection"]:
    """Open an empty database with bounded memory, in a temporary folder if it is to hold a table."""
    # Here, since most stages read what earlier ones wrote, without it.
    import duckdb

    with tempfile.TemporaryDirectory(prefix="canopy-") as folder:
        database = f"{folder}/tables.duckdb" if on_disk else ":memory:"
        limits = {"memory_limit": MEMORY_LIMIT, "temp_directory": folder}
        with duckdb.connect(database, config={**limits, "threads": usable_cores()}) as connection:
            connection.execute("SET enable_progress_bar = false")
            yield connection
