"""Read a file of any size: plain CSV with Arrow, other CSV and JSON lines with DuckDB, Parquet."""

import csv
import itertools
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from canopy.places import require_file
from canopy.schema.columns import first_repeated
from canopy.schema.file_format import COMPRESSIONS, FileFormat
from canopy.tables.chunks import read_chunks
from canopy.tables.connection import open_duckdb
from canopy.tables.problems import Problem
from canopy.tables.text import is_utf8, open_text, record_starts, records

if TYPE_CHECKING:
    import duckdb
    import pyarrow.parquet as pq

BATCH_ROWS = 65_536
N_SAMPLED_OBJECTS = 1000

# No `auto_detect`, which guesses from the first rows.
READ_CSV = """SELECT {chosen} FROM read_csv($path, auto_detect=false, header=true, delim=$delimiter,
    quote=$quote, escape=$quote, columns={{{types}}}, store_rejects=true, rejects_table='line_errors',
    rejects_scan='line_error_scans', rejects_limit=0)"""

# Of a line with too few values there is one entry for each that is missing.
READ_LINE_ERRORS = "SELECT DISTINCT ON (line) line, error_type, csv_line FROM line_errors ORDER BY line"

# DuckDB's names of what is wrong with a line, and what a line must do instead.
LINE_REQUIREMENTS = {
    "TOO MANY COLUMNS": "have as many values as the header has names",
    "MISSING COLUMNS": "have as many values as the header has names",
    "UNQUOTED VALUE": "have a delimiter after a closing quote",
    "INVALID ENCODING": "be text in the encoding of table.file",
    "LINE SIZE OVER MAXIMUM": "have at most 2 MB",
}


@dataclass
class TableFile:
    """One file of a table; `.gz` and `.zst` are decompressed.

    Attributes:
        line_errors: Lines that were left out, complete once `batches` has been exhausted.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is empty, or its header is not one of a table.
    """

    path: Path
    file_format: FileFormat
    line_errors: list[Problem] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        require_file(self.path, name="The table ")
        if (name := first_repeated(self.names)) is not None:
            raise ValueError(f"{self.path} must name each column once; got {name!r} twice in its header")

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns, in the order of the file; `unnamed_1` for the first one if it has none."""
        match self.file_format.format:
            case "csv":
                names = self._header()
            case "parquet":
                names = self._parquet().schema_arrow.names
            case "jsonl":
                names = self._keys()
        return [name or f"unnamed_{index}" for index, name in enumerate(names, 1)]

    def batches(self, columns: Sequence[str], *, n_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Read some columns, in batches of about `n_rows` rows.

        Yields:
            The columns in the given order: of CSV all as text, of the other formats in their types.

        Raises:
            ValueError: If the file cannot be read as its format says.
        """
        self.line_errors.clear()
        if self.file_format.format == "parquet":
            for batch in self._parquet().iter_batches(n_rows, columns=[*columns]):
                yield batch.select([*columns])
            return
        n_read = 0
        if self._is_plain:
            delimiter, quote = self.file_format.delimiter, self.file_format.quote
            types = dict.fromkeys(columns, pa.string())
            # Where the form of the file is another one, DuckDB continues, and finds what is wrong with it.
            with suppress(ValueError):
                for batch in read_chunks(
                    self.path, self.names, types, delimiter=delimiter, forbidden=quote.encode()
                ):
                    n_read += batch.num_rows
                    yield batch
                return
        with open_duckdb() as connection, self._utf8() as path, self._errors():
            relation = self._relation(connection, path, columns)
            for batch in _read_ahead(relation.to_arrow_reader(n_rows)):
                rows = batch.slice(n_read)
                n_read = max(0, n_read - batch.num_rows)
                if rows.num_rows:
                    yield rows.rename_columns([*columns])
            if self.file_format.format == "csv":
                for line, kind, text in connection.sql(READ_LINE_ERRORS).fetchall():
                    requirement = LINE_REQUIREMENTS.get(str(kind), str(kind).lower())
                    shown = repr((text or "")[:60])
                    self.line_errors.append(Problem(str(self.path), line, "", requirement, shown))

    @property
    def _is_plain(self) -> bool:
        """Whether Arrow may try it, in a third of DuckDB's time."""
        dialect = self.file_format
        return (
            dialect.format == "csv"
            and is_utf8(dialect.encoding)
            and self.path.suffix not in COMPRESSIONS
            and len(dialect.delimiter.encode()) == 1
            and len(self.names) > 1
        )

    def lines(self, rows: Iterable[int]) -> dict[int, int]:
        """Find the line where each of some rows (from 0) starts, from 1; of Parquet, the row from 1."""
        wanted = {*rows}
        if self.file_format.format == "parquet" or not wanted:
            return {row: row + 1 for row in wanted}
        left_out = {error.line for error in self.line_errors}
        with open_text(self.path, self.file_format) as text:
            starts: Iterator[int] = (
                record_starts(text, self.file_format)
                if self.file_format.format == "csv"
                else (line for line, content in enumerate(text, 1) if content.strip())
            )
            kept = (start for start in starts if start not in left_out)
            numbered = enumerate(itertools.islice(kept, max(wanted) + 1))
            return {row: start for row, start in numbered if row in wanted}

    def _relation(
        self, connection: "duckdb.DuckDBPyConnection", path: Path, columns: Sequence[str]
    ) -> "duckdb.DuckDBPyRelation":
        if self.file_format.format == "jsonl":
            escaped = [name.replace("\\", r"\\").replace('"', r"\"") for name in columns]
            values = ", ".join(f"json ->> ${index}" for index in range(2, len(columns) + 2))
            scan = f"SELECT {values} FROM read_ndjson_objects($1)"  # noqa: S608 - of numbers only
            return connection.sql(scan, params=[str(path), *(f'$."{name}"' for name in escaped)])
        # By position: DuckDB compares names without case, and changes some.
        chosen = ", ".join(f"c{self.names.index(name)}" for name in columns)
        types = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(self.names)))
        dialect = self.file_format
        params = {"path": str(path), "delimiter": dialect.delimiter, "quote": dialect.quote}
        return connection.sql(READ_CSV.format(chosen=chosen, types=types), params=params)

    def _parquet(self) -> "pq.ParquetFile":
        # Here, since most tables are CSV.
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self.path)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{self.path} must be a Parquet file; got: {error}") from error

    def _keys(self) -> list[str]:
        """Collect the keys of the first objects, since an object may leave out what it has no value for."""
        names: dict[str, None] = {}
        with open_text(self.path, self.file_format) as text:
            for number, line in enumerate(itertools.islice(text, N_SAMPLED_OBJECTS), 1):
                try:
                    names |= dict.fromkeys(json.loads(line) if line.strip() else {})
                except (ValueError, TypeError) as error:
                    raise ValueError(
                        f"{self.path} must have one JSON object per line; got: {error} in line {number}"
                    ) from error
        return [*names]

    def _header(self) -> list[str]:
        with open_text(self.path, self.file_format) as text:
            try:
                names = next(records(text, self.file_format), None)
            except csv.Error as error:
                raise ValueError(f"{self.path} must start with a header line; got: {error}") from error
        if not names:
            raise ValueError(f"{self.path} must hold a header and rows; got an empty file or line")
        return [name.strip() for name in names] if self.file_format.trim else names

    @contextmanager
    def _utf8(self) -> Iterator[Path]:
        """Give a path that DuckDB can read: of text in another encoding, that of a copy in UTF-8."""
        if self.file_format.format != "csv" or is_utf8(self.file_format.encoding):
            yield self.path
            return
        with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8", newline="") as copy:
            with open_text(self.path, self.file_format) as text:
                shutil.copyfileobj(text, copy, 2**20)
            copy.flush()
            yield Path(copy.name)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import duckdb

        try:
            yield
        except duckdb.Error as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"{self.path} must be a well-formed {self.file_format.format} file, line ends of one kind; "
                f"got: {reason}"
            ) from error


def _read_ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Let a thread read the next batch while one is used."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(next, batches, None)
        while (batch := ahead.result()) is not None:
            ahead = pool.submit(next, batches, None)
            yield batch
