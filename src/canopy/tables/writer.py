"""Write a table batch by batch, as CSV or Parquet by the suffix of the file."""

import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from canopy.files import atomic_write

SUFFIXES = (".csv", ".parquet")
STANDARD_OUTPUT = Path("-")


@contextmanager
def open_writer(path: str | Path, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Open a table for writing; the file appears, whole, when the block ends without an error.

    Args:
        path: The file; its suffix is one of `SUFFIXES`. `STANDARD_OUTPUT` for CSV there.
        schema: Names and types of its columns.

    Yields:
        A function that writes the rows of a batch.

    Raises:
        ValueError: If the suffix is another one.
        OSError: If the file cannot be written.

    Examples:
        >>> import tempfile
        >>> rows = pa.RecordBatch.from_pydict({"a": [1.5, None], "b": ["x", "y,z"]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open_writer(Path(folder) / "t.csv", rows.schema) as write:
        ...         write(rows)
        ...     print((Path(folder) / "t.csv").read_text().strip())
        "a","b"
        1.5,"x"
        ,"y,z"
    """
    path = Path(path)
    if path == STANDARD_OUTPUT:
        with pa.csv.CSVWriter(sys.stdout.buffer, schema) as printer:
            yield printer.write
        return
    if path.suffix not in SUFFIXES:
        raise ValueError(f"A table must be written as {' or '.join(SUFFIXES)}; got {path.name!r}")
    with atomic_write(path) as temporary, ExitStack() as stack:
        writer: Any
        if path.suffix == ".csv":
            writer = stack.enter_context(pa.csv.CSVWriter(temporary, schema))
        else:
            writer = stack.enter_context(pq.ParquetWriter(temporary, schema, compression="zstd"))
        yield stack.enter_context(_in_background(writer.write))


@contextmanager
def _in_background(write: Callable[[pa.RecordBatch], None]) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Let a thread write one batch while the next one is made."""
    pending: list[Future[None]] = []

    def submit(batch: pa.RecordBatch) -> None:
        wait()
        pending.append(pool.submit(write, batch))

    def wait() -> None:
        while pending:
            pending.pop().result()

    with ThreadPoolExecutor(1) as pool:
        yield submit
        wait()


def header_line(columns: Sequence[str]) -> str:
    r"""Write the header line of a CSV file.

    Examples:
        >>> header_line(["a", "b, or c"])
        'a,"b, or c"\n'
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(columns)
    return line.getvalue()
