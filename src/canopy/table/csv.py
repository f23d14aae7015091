"""Read a table from CSV, checked against its description, and write one, through Arrow."""

import csv
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
from tqdm import tqdm

from canopy.cores import usable_cores
from canopy.files import atomic_write
from canopy.places import require_file
from canopy.table.checks import check_values, first_text_line, shorten
from canopy.table.names import nearest
from canopy.table.spec import SPLIT_COLUMN, TableSpec

# Small enough for a lively progress bar, large enough for Arrow's writer to run at full speed.
ROWS_PER_CHUNK = 32_768

# How files of other formats begin.
OTHER_FORMATS = {
    b"\x1f\x8b": "a file compressed by gzip",
    b"\x28\xb5\x2f\xfd": "a file compressed by Zstandard",
    b"BZh": "a file compressed by bzip2",
    b"\xfd7zXZ": "a file compressed by xz",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
    b'{"': "JSON",
    b"[{": "JSON",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read_table(path: str | Path, spec: TableSpec, *, with_split: bool = False) -> pa.Table:
    """Read what a stage wrote and check every value against the table's description.

    Args:
        path: CSV file with one header line.
        spec: The columns that the file must have, in any order.
        with_split: Whether it also has the column that the stage `split` adds.

    Returns:
        The columns in the order of the description (the split last): features as Arrow infers them (int64 or
        double), the target as its classes are (int64 or text).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the header, the form of a line or a value is wrong; the message names the line.
    """
    columns = [*spec.columns, *([SPLIT_COLUMN] if with_split else [])]
    check_file(path)
    check_header(Path(path), columns)
    types = {SPLIT_COLUMN: pa.dictionary(pa.int32(), pa.string())} if with_split else {}
    # What a stage wrote has no text where there is no value.
    table = read_columns(path, columns, types={**types, **target_type(spec)}, missing_values=[""])
    check_numbers(table, spec.columns if not spec.is_text_target else spec.features, source=str(path))
    check_values(table, spec, source=str(path), with_split=with_split)
    return table


def target_type(spec: TableSpec) -> dict[str, pa.DataType]:
    """Give the type of the target where it is not that of its numbers."""
    return {spec.target: pa.string()} if spec.is_text_target else {}


def check_file(path: str | Path) -> None:
    """Check that a table is there.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    require_file(path, name="The table ", hint='run "make repro" or "dvc repro" first')


def read_columns(
    path: str | Path,
    columns: Sequence[str],
    *,
    types: Mapping[str, pa.DataType],
    missing_values: Sequence[str],
) -> pa.Table:
    """Read some columns of a CSV file, any of whose values may be missing.

    Args:
        path: CSV file with one header line.
        columns: Their names.
        types: Type of each column that Arrow shall not infer.
        missing_values: How the file writes that there is no value.

    Returns:
        The columns in the given order.

    Raises:
        ValueError: If the form of a line is wrong or there is no row; the message names the line.
    """
    convert = pa.csv.ConvertOptions(
        include_columns=columns,
        column_types=types,
        null_values=missing_values,
        strings_can_be_null=True,
    )
    try:
        table = pa.csv.read_csv(path, convert_options=convert)
    except pa.ArrowInvalid as error:
        raise ValueError(_describe_parse_error(Path(path), convert, error)) from error
    if table.num_rows == 0:
        raise ValueError(f"{path} must hold rows below its header; found none")
    return table


def check_numbers(table: pa.Table, columns: Sequence[str], *, source: str) -> None:
    """Refuse a column that holds more than numbers, or nothing at all.

    Args:
        table: What was read.
        columns: The columns that must be numbers; any value may be missing.
        source: Name of the file, for messages.

    Raises:
        ValueError: If one is not; the message names the line.
    """
    for name in columns:
        if pa.types.is_null(table[name].type):
            raise ValueError(f"{source}: column {name!r} must hold numbers; found no value in any row")
        if not _is_number(table[name].type):
            found = first_text_line(table[name])
            assert found is not None, "Arrow found more than numbers"
            line, value = found
            raise ValueError(f"{source}: column {name!r} must hold numbers; found {value} in line {line}")


def write_table(table: pa.Table, path: str | Path, *, description: str) -> None:
    """Write a table as CSV, atomically, on all cores, with a progress bar.

    Args:
        table: What to write.
        path: The file; it is replaced when the new one is complete.
        description: Text of the progress bar, which shows on a terminal only.
    """
    options = pa.csv.WriteOptions(include_header=False)

    def render(chunk: pa.Table) -> pa.Buffer:
        sink = pa.BufferOutputStream()
        pa.csv.write_csv(chunk, sink, options)
        return sink.getvalue()

    starts = range(0, table.num_rows, ROWS_PER_CHUNK)
    n_threads = usable_cores()
    with (
        atomic_write(path) as temporary,
        temporary.open("wb") as file,
        ThreadPoolExecutor(n_threads) as pool,
        tqdm(total=table.num_rows, desc=description, unit=" rows", unit_scale=True, disable=None) as bar,
    ):
        file.write(header_line(table.column_names).encode())
        # Rendered a few chunks at a time, so that the text of the whole table never stands in memory.
        for first in range(0, len(starts), n_threads):
            chunks = [table.slice(start, ROWS_PER_CHUNK) for start in starts[first : first + n_threads]]
            for chunk, text in zip(chunks, pool.map(render, chunks), strict=True):
                file.write(text)
                bar.update(chunk.num_rows)


def header_line(columns: Sequence[str]) -> str:
    r"""Write the header line of a CSV file.

    Examples:
        >>> header_line(["a", "b, or c"])
        'a,"b, or c"\n'
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(columns)
    return line.getvalue()


def check_header(path: Path, columns: Sequence[str], *, optional: Sequence[str] | None = ()) -> list[str]:
    """Check the names in the header line of a CSV file.

    Args:
        path: The file.
        columns: Names that must stand there, in any order.
        optional: Names that may stand there as well; any if None.

    Returns:
        The names that stand there.

    Raises:
        ValueError: If the file is empty or no CSV, or a column is missing, unknown or named twice.
    """
    with path.open("rb") as binary:
        start = binary.read(max(map(len, OTHER_FORMATS)))
    if kinds := [kind for magic, kind in OTHER_FORMATS.items() if start.startswith(magic)]:
        raise ValueError(f"{path} must be a CSV file in UTF-8; got {kinds[0]}: convert it to CSV first")
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            line = file.readline(1_000_000)
            found = next(csv.reader([line]), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path} must be a CSV file in UTF-8; found {shorten(error)}") from error
    for separator, name in OTHER_SEPARATORS.items():
        names = next(csv.reader([line], delimiter=separator), [])
        if len(found) == 1 < len(names) and (not columns or {*names} & {*columns}):
            raise ValueError(
                f"{path} must have its values separated by commas; got {name} between {len(names)} names in "
                "its header: convert it first"
            )
    if not found:
        raise ValueError(f"{path} must hold a header and rows; found an empty file or line")
    missing = [name for name in columns if name not in found]
    known = [*columns, *(found if optional is None else optional)]
    unknown = [name for name in found if name not in known]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"{path} must have the column {missing[0]!r}{more}; found {len(found)} columns without it"
            f"{nearest(missing[0], unknown)}"
        )
    if unknown:
        near = nearest(unknown[0], [name for name in known if name not in found])
        raise ValueError(
            f"{path} must have the table's columns and no others; found {shorten(repr(unknown[0]))}{near}: "
            "leave it out, or list it in table.ignored of params.yaml before training"
        )
    if len(set(found)) < len(found):
        repeated = next(name for name in found if found.count(name) > 1)
        raise ValueError(f"{path} must name each column once; found {repeated!r} twice in its header")
    return found


def _describe_parse_error(path: Path, convert: pa.csv.ConvertOptions, error: Exception) -> str:
    """Say which line is wrong: Arrow counts lines only when it reads them one after the other."""
    try:
        pa.csv.read_csv(path, pa.csv.ReadOptions(use_threads=False), convert_options=convert)
    except pa.ArrowInvalid as located:
        error = located
    return f"{path} must be a well-formed CSV file; found: {shorten(error)}"


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
