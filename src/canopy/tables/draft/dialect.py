"""Find out how a table is written in its file: format, encoding, delimiter and quote."""

import codecs
import csv
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import ValidationError

from canopy.names import nearest
from canopy.schema.file_format import COMPRESSIONS, FORMATS, FileFormat
from canopy.tables.text import open_text, records

SAMPLE_CHARACTERS = 2**18
BLOCK_CHARACTERS = 2**20

OPTIONS = tuple(name for name in FileFormat.model_fields if name != "null_values")
DELIMITERS = (",", ";", "\t", "|", "~", "^")
QUOTES = ('"', "'", "")

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    r"""Read KEY=VALUE of `FileFormat` from a command line.

    Raises:
        ValueError: If there is no such key, or the value is invalid.

    Examples:
        >>> parse_options(["delimiter=\\t", "ragged=drop"])
        {'delimiter': '\t', 'ragged': 'drop'}
    """
    known: dict[str, Any] = {}
    for option in options:
        key, sign, value = option.partition("=")
        if not sign or key not in OPTIONS:
            raise ValueError(
                f"--file must be KEY=VALUE with a key of {', '.join(OPTIONS)}; "
                f"got {option!r}{nearest(key, OPTIONS)}"
            )
        known[key] = value.replace("\\t", "\t")
    try:
        return FileFormat(**known).model_dump(include={*known})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "its values"
        message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        raise ValueError(f"--file must give {key} as {message}; got {first['input']!r}") from error


def sniff(path: Path, **known: Any) -> FileFormat:
    """Find the keys of `FileFormat` that are not `known`, but for the marks of numbers and missing values.

    Raises:
        ValueError: If it is not a table.
    """
    with pa.input_stream(str(path)) as stream:
        start = stream.read(4096)
    if start.startswith(b"PAR1"):
        return FileFormat(**{"format": "parquet", **known})
    known = {"encoding": _find_encoding(path, start), **known}
    with open_text(path, FileFormat(**known)) as text:
        sample = text.read(SAMPLE_CHARACTERS)
    if not sample.strip():
        raise ValueError(f"{path} must hold a header and rows; got an empty file")
    suffix = next((suffix for suffix in reversed(path.suffixes) if suffix not in COMPRESSIONS), "")
    if FORMATS.get(suffix.lower()) == "jsonl" or sample.lstrip().startswith('{"'):
        if sample.lstrip().startswith("["):
            raise ValueError(
                f"{path} must have one JSON object per line; got one list: write it with "
                "pandas.DataFrame.to_json(orient='records', lines=True)"
            )
        return FileFormat(**{"format": "jsonl", **known})
    return _sniff_csv(path, sample, known)


def _find_encoding(path: Path, start: bytes) -> str:
    """Find the encoding of a whole file: UTF-8 or -16, or else that of Western Windows."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return encoding
    # Of Latin letters in UTF-16, every other byte is zero.
    if len(start) > 1 and 0 in start[:2]:
        return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return next(encoding for encoding in ("utf-8", "cp1252", "latin-1") if _can_decode(path, encoding))


def _can_decode(path: Path, encoding: str) -> bool:
    with pa.input_stream(str(path)) as stream, io.TextIOWrapper(stream, encoding, newline="") as text:
        try:
            while text.read(BLOCK_CHARACTERS):
                pass
        except UnicodeDecodeError:
            return False
    return True


class _Dialect(NamedTuple):
    """How well a delimiter and a quote fit: the greatest one fits best, of equal ones the first."""

    header_fits: bool
    share: float
    n_values: int
    n_still_quoted: int
    n_names: int


def _sniff_csv(path: Path, sample: str, known: dict[str, Any]) -> FileFormat:
    """Choose the delimiter and quote that give most lines as many values as the header has names.

    Raises:
        ValueError: If the header has another number of names than most lines have values.
    """
    quotes = [known["quote"]] if "quote" in known else QUOTES
    found: dict[tuple[str, str], _Dialect] = {}
    # Blanks are within values, too.
    for delimiters in ([known["delimiter"]] if "delimiter" in known else DELIMITERS, (" ",)):
        for pair in itertools.product(delimiters, quotes) if not found else ():
            if (fit := _fit(sample, *pair)) is not None:
                found[pair] = fit
    if not found:
        raise ValueError(
            f"{path} must have at least two columns; got lines such as {sample.splitlines()[0][:60]!r}, "
            "in which no delimiter was found: give --file delimiter=..."
        )
    (delimiter, quote), fit = max(found.items(), key=lambda item: item[1][:-1])
    if fit.n_names != fit.n_values and fit.share > 0.5:
        hint = (
            "name the first column too"
            if fit.n_names == fit.n_values - 1
            else "remove lines before the header"
        )
        raise ValueError(
            f"{path} must start with a header that has as many names as the lines have values; "
            f"got {fit.n_names} {'name' if fit.n_names == 1 else 'names'} and mostly {fit.n_values} values: "
            f"{hint}"
        )
    return FileFormat(**{**known, "delimiter": delimiter, "quote": quote})


def _fit(sample: str, delimiter: str, quote: str) -> _Dialect | None:
    file_format = FileFormat(delimiter=delimiter, quote=quote, trim=True)
    try:
        rows = [row for row in records(io.StringIO(sample, newline=""), file_format) if row]
    except csv.Error:
        return None
    # An apostrophe that is no quote would make one value of many lines.
    if quote == "'" and 2 * len(rows) < sample.count("\n"):
        return None
    # The last one of a sample is not complete.
    body = rows[1:-1] if len(sample) == SAMPLE_CHARACTERS and len(rows) > 2 else rows[1:]
    (n_values, count), *_ = Counter(map(len, body or rows)).most_common(1)
    if max(n_values, len(rows[0])) < 2:
        return None
    n_still_quoted = sum(
        len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" for row in rows for value in row
    )
    n_names = len(rows[0])
    return _Dialect(n_names == n_values, count / len(body or rows), n_values, -n_still_quoted, n_names)
