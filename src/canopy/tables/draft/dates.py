"""Find the format of a column of dates."""

import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from canopy.schema.columns import Datetime
from canopy.schema.file_format import FileFormat
from canopy.tables.convert import to_times
from canopy.tables.draft.markers import MARKERS, N_STRANGE, find_strange, is_almost
from canopy.tables.draft.values import ColumnValues, Value

N_SAMPLED = 1000

# Day first before month first: where both fit, the order of most countries.
DATES = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y"),
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d%b%Y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y"),
    *("%b-%Y", "%b %Y", "%b-%y", "%B %Y"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
CLOCK = ("%H:%M", "%H:%M:%S", "%I:%M %p")
ISO = re.compile(r"\d{4}-\d\d(-\d\d.*)?")
SWAPPED = str.maketrans("dm", "md")


class Dates(NamedTuple):
    """What a column of dates is.

    Attributes:
        format: As `Datetime.format`.
        strange: Texts that are no dates.
        is_ambiguous: Whether all values could be read with day and month swapped.
    """

    format: str
    strange: list[Value]
    is_ambiguous: bool


def find_dates(values: ColumnValues) -> Dates | None:
    """Find the format that all values of a column have, a few strange texts aside."""
    sample = [value.text for value in values.first(N_SAMPLED) if value.text not in MARKERS]
    found: dict[str, list[Value]] = {}
    for form in _candidates(sample[:5]):
        column = Datetime(format=form, null_values=MARKERS)
        convert = partial(to_times, column=column, file_format=FileFormat())
        if convert(pa.array(sample, pa.string())).invalid.sum() <= 2 * N_STRANGE:
            strange = find_strange(values, convert)
            if is_almost(strange, values):
                found[form] = strange
    if not found:
        return None
    form = min(found, key=lambda form: len(found[form]))
    swapped = form.translate(SWAPPED)
    is_ambiguous = swapped != form and swapped in found and len(found[swapped]) == len(found[form])
    return Dates(form, found[form], is_ambiguous)


def _candidates(texts: list[str]) -> Iterator[str]:
    """Give the formats that one of a few texts has."""
    if any(ISO.fullmatch(text) for text in texts):
        yield "iso"
    texts = [text for text in texts if 4 <= len(text) <= 32 and any(map(str.isdigit, text))]
    for form in (*CLOCK, *(date + time for date in DATES for time in TIMES)):
        if any(_has_format(text, form) for text in texts):
            yield form


def _has_format(text: str, form: str) -> bool:
    try:
        # `strptime` of the standard library also takes %Y%m%d of seven digits.
        return bool(datetime.strptime(text, form)) and ("%Y%m%d" not in form or text[:8].isdigit())  # noqa: DTZ007
    except ValueError:
        return False
