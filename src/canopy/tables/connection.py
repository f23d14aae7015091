"""DuckDB with bounded memory, and what it says about lines that do not have the form of a table."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from canopy.cores import usable_cores

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "512MB"

# DuckDB's names of what is wrong with a line, in plain words.
LINE_ERRORS = {
    "TOO MANY COLUMNS": "have as many values as the header has names",
    "MISSING COLUMNS": "have as many values as the header has names",
    "UNQUOTED VALUE": "have a delimiter after a closing quote",
    "INVALID ENCODING": "be text in the encoding of table.file",
    "LINE SIZE OVER MAXIMUM": "have at most 2 MB",
}


@dataclass(frozen=True)
class LineError:
    """A line that does not have the form of the table.

    Attributes:
        line: Its number in the file, from 1.
        requirement: What a line must be or have.
        text: The line, shortened.
    """

    line: int
    requirement: str
    text: str


@contextmanager
def open_duckdb(*, on_disk: bool = False) -> Iterator["duckdb.DuckDBPyConnection"]:
    """Open an empty database with bounded memory, in a temporary folder if it is to hold a table."""
    # Here, since most stages read what earlier ones wrote, without it.
    import duckdb

    with tempfile.TemporaryDirectory(prefix="canopy-") as folder:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": folder,
            "threads": usable_cores(),
        }
        database = f"{folder}/tables.duckdb" if on_disk else ":memory:"
        with duckdb.connect(database, config=settings) as connection:
            # It would be printed among the lines of a command.
            connection.execute("SET enable_progress_bar = false")
            yield connection


def read_line_errors(connection: "duckdb.DuckDBPyConnection") -> list[LineError]:
    """Give what was wrong with lines in a scan that stored it as `line_errors`, in their order."""
    # Of a line with too few values there is one entry for each that is missing.
    query = "SELECT DISTINCT ON (line) line, error_type, csv_line FROM line_errors ORDER BY line"
    return [
        LineError(line, LINE_ERRORS.get(str(kind), str(kind).lower()), text or "")
        for line, kind, text in connection.sql(query).fetchall()
    ]
