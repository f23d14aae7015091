"""Find out how a table is written in its file: format, encoding, delimiter and quote."""

import codecs
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from canopy.schema.file_format import COMPRESSIONS, JSON_LINES, FileFormat
from canopy.schema.table import describe_mistake
from canopy.tables.text import open_text, records

SAMPLE_CHARACTERS = 2**18
DELIMITERS = (",", ";", "\t", "|", "~", "^")
QUOTES = ('"', "'", "")


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE of `FileFormat` from a command line; `null_values` may be given several times."""
    pairs = [option.replace("\\t", "\t").partition("=")[::2] for option in options]
    markers = [text for key, text in pairs if key == "null_values"]
    known = {**dict(pairs), **({"null_values": markers} if markers else {})}
    try:
        return FileFormat.model_validate(known).model_dump(include={*known})
    except ValidationError as error:
        raise ValueError(describe_mistake(error, "--file")) from error


def sniff(path: Path, **known: Any) -> FileFormat:
    """Find the keys of `FileFormat` that are not `known`, but for the marks of numbers and missing values."""
    with pa.input_stream(str(path)) as stream:
        start = stream.read(4)
    known = {"trim": True, **known}
    if start == b"PAR1":
        return FileFormat(**{"format": "parquet", **known})
    known = {"encoding": _find_encoding(path, start), **known}
    with open_text(path, FileFormat(**known)) as text:
        sample = text.read(SAMPLE_CHARACTERS)
    if not sample.strip():
        raise ValueError(f"{path} must hold a header and rows; got an empty file")
    name = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    if name.suffix.lower() in JSON_LINES or sample.lstrip().startswith('{"'):
        return FileFormat(**{"format": "jsonl", **known})
    return _sniff_csv(path, sample, known)


def _find_encoding(path: Path, start: bytes) -> str:
    """Find the encoding of a whole file: UTF-8 or -16, or else that of Western Windows."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding in ("utf-8", "cp1252"):
        with suppress(UnicodeDecodeError), pa.input_stream(str(path)) as stream:
            text = io.TextIOWrapper(stream, encoding, newline="")
            while text.read(SAMPLE_CHARACTERS):
                pass
            return encoding
    return "latin-1"


def _sniff_csv(path: Path, sample: str, known: dict[str, Any]) -> FileFormat:
    """Choose the delimiter and quote that give most lines as many values as the header has names."""
    delimiters = [known["delimiter"]] if "delimiter" in known else DELIMITERS
    quotes = [known["quote"]] if "quote" in known else QUOTES
    # Blanks are within values, too.
    fits = _find_fits(sample, delimiters, quotes) or _find_fits(sample, [" "], quotes)
    (delimiter, quote), fit = max(fits.items(), key=lambda item: item[1], default=(("", ""), (False, 1)))
    if not fit[0] and fit[1] > 0.5:
        raise ValueError(
            f"{path} must start with a header of at least two names, as many as the lines have values; got "
            f"{sample.splitlines()[0][:60]!r}: correct it, or give --file delimiter=..."
        )
    return FileFormat(**{"delimiter": delimiter, "quote": quote, **known})


def _find_fits(
    sample: str, delimiters: Sequence[str], quotes: Sequence[str]
) -> dict[tuple[str, str], tuple[bool, float, int, int]]:
    """Judge each delimiter and quote by which there are two columns; the greatest fits best."""
    fits = {}
    for delimiter, quote in itertools.product(delimiters, quotes):
        file_format = FileFormat(delimiter=delimiter, quote=quote, trim=True)
        header, *body = [row for row in records(io.StringIO(sample, newline=""), file_format) if row]
        if len(sample) == SAMPLE_CHARACTERS and len(body) > 1:
            # The last line is not complete.
            body.pop()
        ((n_values, count),) = Counter(map(len, body or [header])).most_common(1)
        # An apostrophe that is no quote would make one value of many lines.
        if max(n_values, len(header)) < 2 or (quote == "'" and 2 * len(body) < sample.count("\n") - 2):
            continue
        texts = (text for row in [header, *body] for text in row)
        n_quoted = sum(text[:1] in ("'", '"') and text[0] == text[-1] for text in texts)
        # Lines as long as the header, most lines alike, many columns, few values that still are in quotes.
        fits[delimiter, quote] = (len(header) == n_values, count / max(1, len(body)), n_values, -n_quoted)
    return fits
