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

STANDARD_OUTPUT = Path("-")


@contextmanager
def open_writer(path: str | Path, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Open a table, CSV or Parquet by its suffix: gives a function that writes the rows of a batch.

    The file appears when the block ends without an error; `STANDARD_OUTPUT` takes CSV as it comes.
    """
    path = Path(path)
    if path == STANDARD_OUTPUT:
        yield from _csv_writer(sys.stdout.buffer, schema)
    elif path.suffix == ".csv":
        with atomic_write(path) as new, new.open("wb") as file:
            yield from _csv_writer(file, schema)
    elif path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with atomic_write(path) as new, pq.ParquetWriter(new, schema, compression="zstd") as writer:
            yield writer.write
    else:
        raise ValueError(f"A table must be written as .csv or .parquet; got {path.name!r}")


def _csv_writer(file: BinaryIO, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Write batches that all cores turn into text."""
    n_threads, pending = usable_cores(), deque[Future[pa.Buffer]]()
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
