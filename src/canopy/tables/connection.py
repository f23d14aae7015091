"""DuckDB with bounded memory."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from canopy.cores import usable_cores

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "512MB"


@contextmanager
def open_duckdb(*, on_disk: bool = False) -> Iterator["duckdb.DuckDBPyConnection"]:
    """Open an empty database with bounded memory, in a temporary folder if it is to hold a table."""
    # Here, since most stages read what earlier ones wrote, without it.
    import duckdb

    with tempfile.TemporaryDirectory(prefix="canopy-") as folder:
        database = f"{folder}/tables.duckdb" if on_disk else ":memory:"
        with duckdb.connect(
            database,
            config={"memory_limit": MEMORY_LIMIT, "temp_directory": folder, "threads": usable_cores()},
        ) as connection:
            # It would be printed among the lines of a command.
            connection.execute("SET enable_progress_bar = false")
            yield connection
