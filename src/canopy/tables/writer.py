"""Write a table batch by batch, as CSV or Parquet by the suffix of the file."""

import csv
import io
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv

from canopy.cores import usable_cores
from canopy.files import atomic_write

SUFFIXES = (".csv", ".parquet")
STANDARD_OUTPUT = Path("-")


@contextmanager
def open_writer(path: str | Path, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Open a table for writing: gives a function that writes the rows of a batch.

    The file, whose suffix is one of `SUFFIXES`, appears when the block ends without an error;
    `STANDARD_OUTPUT` takes CSV as it comes.
    """
    path = Path(path)
    if path == STANDARD_OUTPUT:
        yield from _csv_writer(sys.stdout.buffer, schema)
        return
    if path.suffix not in SUFFIXES:
        raise ValueError(f"A table must be written as {' or '.join(SUFFIXES)}; got {path.name!r}")
    with atomic_write(path) as temporary:
        if path.suffix == ".csv":
            with temporary.open("wb") as file:
                yield from _csv_writer(file, schema)
        else:
            # Here, since most tables are CSV.
            import pyarrow.parquet as pq

            with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
                yield writer.write


def _csv_writer(file: BinaryIO, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Write batches that all cores turn into text."""
    n_threads = usable_cores()
    pending: deque[Future[pa.Buffer]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:

        def write(batch: pa.RecordBatch) -> None:
            pending.append(pool.submit(_as_csv, batch))
            if len(pending) > n_threads:
                file.write(pending.popleft().result())

        file.write(_as_csv(schema.empty_table(), header=True))
        yield write
        while pending:
            file.write(pending.popleft().result())


def _as_csv(rows: pa.RecordBatch | pa.Table, *, header: bool = False) -> pa.Buffer:
    stream = pa.BufferOutputStream()
    pa.csv.write_csv(rows, stream, pa.csv.WriteOptions(include_header=header))
    return stream.getvalue()


def header_line(columns: Sequence[str]) -> str:
    """Write the header line of a CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(columns)
    return line.getvalue()
