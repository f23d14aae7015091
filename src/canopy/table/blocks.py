"""Read a CSV file of any length block by block, each value checked."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

import pyarrow as pa
import pyarrow.csv
from tqdm import tqdm

from canopy.places import require_file
from canopy.table.checks import FIRST_LINE, check_features, check_ranges, first_text_line, shorten
from canopy.table.csv import check_header
from canopy.table.raw import expand, text_types
from canopy.table.spec import TableSpec

# Some ten thousand rows: large enough for full speed, small beside the memory of any machine.
BLOCK_BYTES = 4 * 2**20


def check_source(path: str | Path, spec: TableSpec) -> None:
    """Check that there is a file with the columns of `spec`; the target may be among them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no CSV file, or a column is missing, unknown or named twice.
    """
    require_file(path, name="The table ")
    check_header(Path(path), spec.raw_features, optional=[spec.target, *spec.ignored])


def read_blocks(
    path: str | Path, spec: TableSpec, *, description: str, block_bytes: int = BLOCK_BYTES
) -> Iterator[pa.Table]:
    """Read the features of a CSV file block by block, with a progress bar; the target is left out.

    Args:
        path: CSV file that `check_source` accepts.
        spec: Its columns.
        description: Text of the progress bar, which shows on a terminal only.
        block_bytes: Size of a block in the file, at least that of a line.

    Yields:
        Rows in the file's order: the features in the order of the description, numbers as double.

    Raises:
        ValueError: If the form of a line or a feature is wrong, or there is no row; the message names the
            line, counted from the file's start.
    """
    path = Path(path)
    n_rows = 0
    try:
        with tqdm(
            total=path.stat().st_size, desc=description, unit="B", unit_scale=True, disable=None
        ) as bar:
            types = {**dict.fromkeys(spec.raw_features, pa.float64()), **text_types(spec)}
            for raw, position in _open(path, spec, types, block_bytes):
                place: Place = {"source": str(path), "first_line": n_rows + FIRST_LINE}
                block = expand(raw, spec, **place)
                check_features(block, spec, **place)
                check_ranges(block, spec, **place)
                n_rows += block.num_rows
                yield block
                bar.update(position - bar.n)
    except pa.ArrowInvalid as error:
        raise ValueError(_describe_error(path, spec, block_bytes, error)) from error
    if n_rows == 0:
        raise ValueError(f"{path} must hold rows below its header; found none")


def read_ahead(blocks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Let a thread read the next block while the one before is worked on.

    Args:
        blocks: The blocks.

    Yields:
        The same.
    """
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, blocks, None)
        while (block := pending.result()) is not None:
            pending = pool.submit(next, blocks, None)
            yield block


class Place(TypedDict):
    """Where a block stands: its file, for messages, and the line of its first row."""

    source: str
    first_line: int


def _open(
    path: Path, spec: TableSpec, types: Mapping[str, pa.DataType], block_bytes: int
) -> Iterator[tuple[pa.Table, int]]:
    """Read the features as these types; with each block comes the number of bytes read so far."""
    # With one thread, Arrow tells the number of a malformed line; several would not be faster.
    read = pa.csv.ReadOptions(use_threads=False, block_size=block_bytes)
    # Each type is given: inferred ones would be those of the first block alone.
    convert = pa.csv.ConvertOptions(
        include_columns=spec.raw_features,
        column_types=types,
        null_values=spec.missing_values,
        strings_can_be_null=True,
    )
    with pa.OSFile(str(path)) as file, pa.csv.open_csv(file, read, convert_options=convert) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch]), file.tell()


def _describe_error(path: Path, spec: TableSpec, block_bytes: int, error: Exception) -> str:
    """Say which line is wrong: as bytes, what is no number can be read and told."""
    first_line = FIRST_LINE
    try:
        texts = text_types(spec)
        types = {**dict.fromkeys(spec.raw_features, pa.binary()), **texts}
        for block, _ in _open(path, spec, types, block_bytes):
            for name in block.column_names:
                if name not in texts and (found := first_text_line(block[name], first_line=first_line)):
                    line, value = found
                    return f"{path}: column {name!r} must hold numbers; found {value} in line {line}"
            first_line += block.num_rows
    except pa.ArrowInvalid as located:
        error = located
    return f"{path} must be a well-formed CSV file; found: {shorten(error)}"
