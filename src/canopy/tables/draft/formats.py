"""Find out how a file writes numbers, dates and missing values."""

import re
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import cache, partial

import numpy as np
import pyarrow as pa

from canopy.schema.columns import Datetime, Ignored, Numeric
from canopy.schema.file_format import FileFormat
from canopy.tables.convert import Converted, to_numbers, to_times
from canopy.tables.draft.values import DraftedColumn, Value, n_rows, quote_all

# Texts that mean "no value" in any column, unless all values are such codes.
MARKERS = ("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "(null)", "\\N", "?")

# Those that mean it where all others are numbers or dates: some words, and what has no letter or digit.
WORDS = re.compile(
    r"(?i:none|missing|unknown|unk|undefined|nil|not available|n\.a\.|na|n/d|nd|x)|[-.*_#/\u2013\u2014]+"
)

# An otherwise numeric column may have so many texts that are none of those, in few rows.
N_STRANGE, STRANGE_SHARE, N_NUMBERS = 3, 0.1, 50

# Around a number: percents and currencies.
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
    odd, n_others = _without_words(strange), values.n_values - len(strange)
    are_few = len(odd) <= N_STRANGE and sum(value.n for value in odd) <= STRANGE_SHARE * values.table.n_rows
    if n_others and (not odd or (are_few and n_others >= N_NUMBERS)):
        return sorted(strange, key=lambda value: value.row)
    return None


def _without_words(strange: Sequence[Value]) -> list[Value]:
    return [value for value in strange if not WORDS.fullmatch(value.text)]


def remove_strange(values: DraftedColumn, strange: Sequence[Value]) -> None:
    """Let texts in a column of numbers or dates be missing values."""
    values.remove([value.text for value in strange])
    for value in _without_words(strange):
        where = f"{n_rows(value.n)}, first in line {values.table.line(value.row)}"
        values.looks.append(f"{quote_all([value])} ({where}) is read as missing")


def settle_markers(columns: Sequence[DraftedColumn], known: Collection[str] | None) -> tuple[str, ...]:
    """Choose the null markers of the file; columns with others, or of which one is a value, get their own."""
    found = {text for values in columns for text in values.markers.intersection(MARKERS)}
    common = {"", *(found if known is None else known)}
    for values in columns:
        taken = values.which(common)
        if not isinstance(values.column, Ignored) and (taken or values.markers - common):
            values.declare(null_values=tuple(sorted((values.markers | common) - taken)))
    return tuple(sorted(common))


def number_converter(file_format: FileFormat) -> Callable[[pa.Array], Converted]:
    """Make a function that converts texts to finite numbers, as the reader does."""

    def convert(texts: pa.Array) -> Converted:
        numbers, invalid = to_numbers(texts, Numeric(null_values=(), marks=MARKS), file_format)
        return Converted(numbers, invalid | np.isinf(numbers.to_numpy(zero_copy_only=False)))

    return convert


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
        strange = find_strange(filled[index], number_converter(style))
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
            strange = find_strange(values, partial(to_times, column=column, file_format=FileFormat()))
            if strange is not None:
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
    try:
        # `strptime` of the standard library also takes %Y%m%d of seven digits.
        return bool(datetime.strptime(text, form)) and ("%Y%m%d" not in form or text[:8].isdigit())  # noqa: DTZ007
    except ValueError:
        return False
