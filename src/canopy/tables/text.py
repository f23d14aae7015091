"""Find a table's files; open one as text: decompressed, decoded, one record after the other."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from canopy.places import require_file
from canopy.schema.table import JSON_LINES, FileFormat

# How files start that are not text, and what to do with them.
PARQUET = b"PAR1"
BINARY = {
    PARQUET: "a Parquet file: set table.file.format",
    b"\x1f\x8b": "a file compressed by gzip: let its name end in .gz",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: convert it to CSV or Parquet first",
}


@contextmanager
def open_text(path: Path, file_format: FileFormat) -> Iterator[IO[str]]:
    """Open a file as text; `.gz` and `.zst` are decompressed, a byte-order mark is skipped."""
    start = start_of(path)
    for magic, kind in BINARY.items():
        if start.startswith(magic):
            raise ValueError(f"{path} must be text; got {kind}")
    encoding = file_format.encoding
    try:
        with pa.input_stream(str(path)) as stream:
            yield io.TextIOWrapper(stream, "utf-8-sig" if is_utf8(encoding) else encoding, newline="")
    except UnicodeError as error:
        raise ValueError(
            f"{path} must be text in {encoding}; got {error}: set table.file.encoding"
        ) from error


def start_of(path: Path) -> bytes:
    """Read the first four bytes of a file, which it is decompressed for."""
    with pa.input_stream(str(path)) as stream:
        start: bytes = stream.read(4)
    return start


def own_format(path: Path, known: FileFormat) -> FileFormat:
    """Give the format of a file of new rows, which may be another one than that of the table, `known`."""
    kind = known.format
    if start_of(path) == PARQUET:
        kind = "parquet"
    elif {suffix.lower() for suffix in path.suffixes}.intersection(JSON_LINES):
        kind = "jsonl"
    elif kind == "parquet" or ".csv" in path.suffixes:
        kind = "csv"
    return known.model_copy(update={"format": kind})


def is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in {"utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii"}


def records(text: IO[str], file_format: FileFormat) -> Iterator[list[str]]:
    """Split text into the values of each record, the header first."""
    csv.field_size_limit(2**31 - 1)
    form: Any = {"delimiter": file_format.delimiter, "skipinitialspace": file_format.trim}
    form |= {"quotechar": file_format.quote} if file_format.quote else {"quoting": csv.QUOTE_NONE}
    return csv.reader(text, **form)


def record_starts(text: IO[str], file_format: FileFormat) -> Iterator[tuple[int, int]]:
    """Number the records of a file, empty lines too; of each row give its number and first line, from 1."""
    if file_format.format == "jsonl":
        yield from ((line, line) for line, content in enumerate(text, 1) if content.strip())
        return
    found: Any = records(text, file_format)
    last = 0
    for number, record in enumerate(found, 1):
        if record and number > 1:
            yield number, last + 1
        last = found.line_num


def find_files(pattern: str | Path, *, hint: str | None = None) -> list[Path]:
    """Find the files of a table by a path, that of their folder, or a pattern, in the order of their names.

    Hidden ones and those that start with `_` are left out. If there is none, the error ends with `hint`.
    """
    path = Path(pattern)
    if path.is_file():
        return [path]
    root = Path(path.anchor)
    found = path.iterdir() if path.is_dir() else root.glob(str(path.relative_to(root)))
    files = sorted(file for file in found if file.is_file() and not file.name.startswith((".", "_")))
    if not files:
        require_file(path, name="The table ", hint=hint)
    return files
