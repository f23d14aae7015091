"""Find out how a table is written in its file: its dialect, numbers, dates and missing values."""

import codecs
import io
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from canopy.schema.columns import Datetime, Ignored, Numeric
from canopy.schema.table import COMPRESSIONS, JSON_LINES, FileFormat, describe_mistake
from canopy.tables.convert import Converted, to_numbers, to_times
from canopy.tables.draft.values import DraftedColumn, Value, n_rows, quote_all
from canopy.tables.text import PARQUET, open_text, records, start_of

SAMPLE_CHARACTERS = 2**18
DELIMITERS = (",", ";", "\t", "|", "~", "^")
QUOTES = ('"', "'", "")
# Texts that mean "no value" in any column, unless all values are such codes.
MARKERS = ("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "(null)", "\\N", "?")
# Those that mean it where all others are numbers or dates: some words, and what has no letter or digit.
WORDS = re.compile(
    r"(?i:none|missing|unknown|unk|undefined|nil|not available|n\.a\.|na|n/d|nd|x)|[-.*_#/\u2013\u2014]+"
)
# An otherwise numeric column may have so many texts that are none of those, in few rows.
N_STRANGE, STRANGE_SHARE, N_NUMBERS = 3, 0.1, 50
MARKS = ("%", "$", "€", "£", "¥", "₹")
# A no-break space and a narrow one, too.
BLANKS = " \u00a0\u202f"
# Decimal mark and marks between thousands; of several that fit as well, the first.
STYLES = ((".", ""), (".", ","), (",", "."), (",", ""), (".", BLANKS), (",", BLANKS), (".", "'"))
# Day first before month first: where both fit, the order of most countries.
DATES = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y"),
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d%b%Y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y"),
    *("%b-%Y", "%b %Y", "%b-%y", "%B %Y"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
FORMATS = ("iso", "%H:%M", "%H:%M:%S", "%I:%M %p", *(date + time for date in DATES for time in TIMES))
SWAPPED = str.maketrans("dm", "md")


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
    start = start_of(path)
    known = {"trim": True, **known}
    if start == PARQUET:
        return FileFormat(**{"format": "parquet", **known})
    known = {"encoding": _find_encoding(path, start), **known}
    with open_text(path, FileFormat(**known)) as text:
        sample = text.read(SAMPLE_CHARACTERS)
    if not sample.strip():
        raise ValueError(f"{path} must hold a header and rows; got an empty file")
    name = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    if name.suffix.lower() in JSON_LINES or sample.lstrip().startswith('{"'):
        return FileFormat(**{"format": "jsonl", **known})
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


def remove_markers(columns: Sequence[DraftedColumn], known: Collection[str] | None) -> None:
    """Take the markers, if not `known`, out of the columns; not NA where it is a code (Namibia)."""
    with_na = [values for values in columns if known is None and values.which(["NA"])]
    are_capitals = "count(*) > 2 AND bool_and(regexp_full_match(text, '[A-Z]{2}'))"
    is_code = bool(with_na) and all(values.ask(are_capitals) == (True,) for values in with_na)
    markers = {*(MARKERS if known is None else known)}.difference(["NA"] if is_code else [])
    for values in columns:
        values.remove(values.which(markers))
    for values in with_na if is_code else ():
        values.looks.append("NA is a value, as all are two capital letters")


def find_strange(values: DraftedColumn, convert: Callable[[pa.Array], Converted]) -> list[Value] | None:
    """Find the values of a column of numbers or dates that cannot be converted; None if it is not one."""
    strange: list[Value] = []
    for batch in values.batches():
        invalid = batch.filter(pa.array(convert(batch["text"]).invalid))
        strange += [Value(**row) for row in invalid.slice(0, 3 * N_STRANGE).to_pylist()]
        if len(strange) > 2 * N_STRANGE:
            return None
    odd = [value for value in strange if not WORDS.fullmatch(value.text)]
    n_others = values.n_values - len(strange)
    are_few = len(odd) <= N_STRANGE and sum(value.n for value in odd) <= STRANGE_SHARE * values.table.n_rows
    is_one = n_others and (not odd or (are_few and n_others >= N_NUMBERS))
    return sorted(strange, key=lambda value: value.row) if is_one else None


def remove_strange(values: DraftedColumn, strange: Sequence[Value]) -> None:
    """Let texts in a column of numbers or dates be missing values."""
    values.remove([value.text for value in strange])
    for value in strange:
        if not WORDS.fullmatch(value.text):
            values.looks.append(f"{quote_all([value])} ({n_rows(value.n)}) is read as missing")


def settle_markers(columns: Sequence[DraftedColumn], known: Collection[str] | None) -> tuple[str, ...]:
    """Choose the null markers of the file; columns with others, or of which one is a value, get their own."""
    found = {text for values in columns for text in values.markers.intersection(MARKERS)}
    common = {"", *(found if known is None else known)}
    for values in columns:
        taken = values.which(common)
        if not isinstance(values.column, Ignored) and (taken or values.markers - common):
            values.declare(null_values=tuple(sorted((values.markers | common) - taken)))
    return tuple(sorted(common))


def to_finite(texts: pa.Array, file_format: FileFormat) -> Converted:
    """Convert texts to finite numbers, as the reader does."""
    numbers, invalid = to_numbers(texts, Numeric(null_values=(), marks=MARKS), file_format)
    return Converted(numbers, invalid | np.isinf(numbers.to_numpy(zero_copy_only=False)))


def find_style(columns: Sequence[DraftedColumn], file_format: FileFormat) -> FileFormat:
    """Choose the decimal and thousands marks by which most columns are numeric."""
    # With semicolons `1,234` has decimals, else thousands.
    order = (0, 3, 2, 1, 4, 5, 6) if file_format.delimiter == ";" else range(len(STYLES))
    plain, *others = (
        file_format.model_copy(update={"decimal": decimal, "thousands": thousands})
        for decimal, thousands in (STYLES[index] for index in order)
    )
    filled = {values.index: values for values in columns if values.n_values}

    @cache
    def fit(index: int, style: FileFormat) -> int:
        """Score a column: 100 if it is numeric, less one for each value with a digit that is no number."""
        strange = find_strange(filled[index], lambda texts: to_finite(texts, style))
        return 0 if strange is None else 100 - sum(any(map(str.isdigit, value.text)) for value in strange)

    unclear = [index for index in filled if fit(index, plain) < 100]
    if all(fit(index, style) <= fit(index, plain) for index in unclear for style in others):
        return plain
    return max([plain, *others], key=lambda style: sum(fit(index, style) for index in filled))


def find_dates(values: DraftedColumn) -> tuple[str, list[Value], bool] | None:
    """Find the format of a column, its strange texts, and whether day and month could be swapped."""
    texts = [value.text for value in values.first(5)]
    found: dict[str, list[Value]] = {}
    for form in FORMATS:
        if any(_has_format(text, form) for text in texts):
            column = Datetime(format=form, null_values=())
            convert = partial(to_times, column=column, file_format=FileFormat())
            if (strange := find_strange(values, convert)) is not None:
                found[form] = strange
    if not found:
        return None
    form = min(found, key=lambda form: len(found[form]))
    swapped = form.translate(SWAPPED)
    is_ambiguous = swapped != form and swapped in found and len(found[swapped]) == len(found[form])
    return form, found[form], is_ambiguous


def _has_format(text: str, form: str) -> bool:
    if form == "iso":
        return re.fullmatch(r"\d{4}-\d\d(-\d\d.*)?", text) is not None
    with suppress(ValueError):
        # `strptime` of the standard library also takes %Y%m%d of seven digits.
        return bool(datetime.strptime(text, form)) and ("%Y%m%d" not in form or text[:8].isdigit())  # noqa: DTZ007
    return False
