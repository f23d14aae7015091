"""Read plain CSV with Arrow: in chunks of whole records, on all cores."""

import codecs
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv

from canopy.cores import usable_cores

CHUNK_BYTES = 1 << 21


def read_chunks(
    path: Path,
    names: Sequence[str],
    columns: Mapping[str, pa.DataType],
    *,
    delimiter: str = ",",
    forbidden: bytes | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read columns of these types from a CSV file in UTF-8; empty values are null, empty lines no rows.

    The first record is skipped; `names` are those of all columns. Values may be in double quotes, unless a
    quote is `forbidden`. A ValueError at the first row of another form; the rows before it have been given.
    """
    quoted = forbidden is None
    parse_options = pa.csv.ParseOptions(
        delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted
    )
    convert_options = pa.csv.ConvertOptions(
        column_types=columns, include_columns=[*columns], null_values=[""], strings_can_be_null=True
    )

    def convert(chunk: pa.Buffer, n_skipped: int) -> list[pa.RecordBatch]:
        read_options = pa.csv.ReadOptions(
            column_names=names,
            skip_rows_after_names=n_skipped,
            # One block: where a block ends between CR and LF inside quotes, Arrow loses the LF
            # (apache/arrow issue 51368).
            block_size=chunk.size + 1,
            use_threads=False,
        )
        table = pa.csv.read_csv(pa.BufferReader(chunk), read_options, parse_options, convert_options)
        return list(table.combine_chunks().to_batches())

    n_threads, pending = usable_cores(), deque[Future[list[pa.RecordBatch]]]()
    with path.open("rb") as file, ThreadPoolExecutor(n_threads) as pool:
        if file.read(3) != codecs.BOM_UTF8:
            file.seek(0)
        for index, chunk in enumerate(_record_chunks(file, forbidden)):
            pending.append(pool.submit(convert, chunk, int(index == 0)))
            if len(pending) > n_threads:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def _record_chunks(file: BinaryIO, forbidden: bytes | None) -> Iterator[pa.Buffer]:
    """Split a file where a record ends: at a line break with an even number of quotes before it."""
    rest = b""
    while True:
        part = bytearray(len(rest) + CHUNK_BYTES)
        part[: len(rest)] = rest
        n_bytes = len(rest) + file.readinto(memoryview(part)[len(rest) :])  # type: ignore[attr-defined]
        if n_bytes == len(rest):
            if rest:
                yield pa.py_buffer(rest)
            return
        if forbidden is not None:
            _check_plain(part, n_bytes, forbidden)
        end = part.rfind(b"\n", 0, n_bytes) + 1
        n_quotes = part.count(b'"', 0, end) if forbidden is None else 0
        while n_quotes % 2:
            before = part.rfind(b"\n", 0, end - 1) + 1
            n_quotes -= part.count(b'"', before, end)
            end = before
        if not end and n_bytes > CHUNK_BYTES:
            raise ValueError(f"a row of more than {CHUNK_BYTES:,} bytes")
        if end:
            yield pa.py_buffer(part)[:end]
        rest = bytes(part[end:n_bytes])


def _check_plain(part: bytearray, n_bytes: int, forbidden: bytes) -> None:
    if forbidden and forbidden in part:
        raise ValueError(f"{forbidden!r} in a file without quotes")
    if b"\r" in part and part.count(b"\r", 0, n_bytes - 1) != part.count(b"\r\n", 0, n_bytes):
        raise ValueError("line breaks of several kinds")
    if not part.isascii():
        # Arrow decodes only the columns that it reads.
        codecs.getincrementaldecoder("utf-8")().decode(part[:n_bytes])
