"""Find what a column of numbers is: amounts, codes, keys or times."""

import re
from typing import NamedTuple

from canopy.schema.columns import Datetime, Ignored, Key, Numeric
from canopy.schema.file_format import FileFormat
from canopy.tables.draft.categorical import set_categorical
from canopy.tables.draft.dates import find_dates
from canopy.tables.draft.finding import Counts, Finding, n_rows, number_text, quote_all
from canopy.tables.draft.numbers import MARKS, store_numbers, used_characters
from canopy.tables.draft.store import ColumnStore

KEY_NAME = re.compile(r"(?i:(^|[\W_])(id|key|uuid|guid|index|idx|rownames?|row|nr|no)$)|[a-z](ID|Id)$|^ID")
CODE_NAME = re.compile(
    r"(?i:(^|[\W_])(id|zip|plz)([\W_]|$)|(code|type|class|category|zip|postcode)$)|[a-z](ID|Id)$|^ID"
)
TIME_NAME = re.compile(r"(?i:epoch|time|date|stamp|_(at|ts|on)$)")
YEAR_NAME = re.compile(r"(?i:year|date|time|age|day|month)")

# Seconds since 1970 of the years 1990 to 2040, and days of 1900 to 2100 as YYYYMMDD.
EPOCH = (631_152_000, 2_208_988_800)
YYYYMMDD = (19_000_101, 21_001_231)
# Double precision holds each integer of so many digits.
N_EXACT_DIGITS = 15
# Numbers that often mean "no value", if all others are far away.
SENTINELS = {sign * int("9" * n) for n in range(2, 7) for sign in (-1, 1)} | {-1, 0, -9, -88, -888, 88888}


class _Numbers(NamedTuple):
    """Statistics of a column of numbers."""

    low: float
    high: float
    are_integers: bool
    have_zeros: bool
    n_digits: int

    def describe(self, n_values: int) -> str:
        ends = number_text(self.low), number_text(self.high)
        return ("integers " if self.are_integers and n_values > 2 else "") + (
            " or " if n_values == 2 else " to "
        ).join(ends)


def find_numeric_kind(
    store: ColumnStore, index: int, finding: Finding, file_format: FileFormat, unit: str = ""
) -> None:
    """Find what a column is whose values are all numbers."""
    store_numbers(store, index, file_format, unit)
    counts = Counts.of(store, index)
    numbers = _Numbers(
        *store.row(
            "SELECT min(number), max(number), bool_and(number = floor(number)), "
            r"bool_or(regexp_full_match(value, '[+-]?0\d+')), "
            r"max(length(regexp_extract(value, '^[+-]?(\d+)$', 1))) "
            f"FROM numbers_{index}"
        )
    )
    finding.why = numbers.describe(counts.n_values)
    if not numbers.are_integers:
        _set_numeric(store, index, finding, unit)
    elif counts.n_values == 1:
        set_categorical(store, index, finding)
    elif (why := _key_reason(store, index, finding.name, numbers, counts)) is not None:
        finding.column, finding.why = Key(), why
    elif (why := _code_reason(finding.name, numbers, counts)) is not None:
        if counts.n_values > counts.n_filled / 2:
            finding.column, finding.why = Ignored(), f"{counts.n_values:,} different codes"
        else:
            set_categorical(store, index, finding)
        finding.why += f", {why}"
    elif _is_within(numbers, YYYYMMDD) and find_dates(store, index, counts.n_values) is not None:
        finding.column, finding.why = Datetime(format="%Y%m%d"), f"{finding.why}, days as YYYYMMDD"
    elif _is_within(numbers, EPOCH):
        if TIME_NAME.search(finding.name):
            finding.column, finding.why = Datetime(format="epoch"), "seconds since 1970"
        else:
            _set_numeric(store, index, finding, unit)
            finding.looks.append("seconds since 1970? Then {kind: datetime, format: epoch}")
    else:
        _set_numeric(store, index, finding, unit)


def _is_within(numbers: _Numbers, ends: tuple[int, int]) -> bool:
    return ends[0] <= numbers.low and numbers.high <= ends[1]


def _code_reason(name: str, numbers: _Numbers, counts: Counts) -> str | None:
    """Say why integers are no amounts; None if they may be."""
    if numbers.have_zeros:
        return "leading zeros"
    if numbers.n_digits > N_EXACT_DIGITS:
        return f"integers of {numbers.n_digits} digits"
    return "codes by the name" if counts.n_values > 2 and CODE_NAME.search(name) else None


def _key_reason(store: ColumnStore, index: int, name: str, numbers: _Numbers, counts: Counts) -> str | None:
    """Say why integers name rows; None if they do not."""
    if not counts.is_unique:
        return None
    if numbers.n_digits > N_EXACT_DIGITS:
        return f"another integer of {numbers.n_digits} digits in each row"
    if KEY_NAME.search(name):
        return "another integer in each row, a key by the name"
    if YEAR_NAME.search(name):
        return None
    n_possible = numbers.high - numbers.low + 1
    (ascending,) = store.row(
        f"SELECT bool_and(number > before) FROM (SELECT number, lag(number) OVER (ORDER BY row) AS before "
        f"FROM numbers_{index})"
    )
    if n_possible == counts.n_rows or (ascending and n_possible < 2 * counts.n_rows):
        return f"running numbers {numbers.low:.0f} to {numbers.high:.0f}"
    return None


def _set_numeric(store: ColumnStore, index: int, finding: Finding, unit: str) -> None:
    finding.column = Numeric()
    if marks := [*used_characters(store, index, "".join(MARKS)), *([unit] if unit else [])]:
        finding.set(marks=tuple(marks))
        finding.why += f", {quote_all(marks)} left out"
        if "%" in marks:
            finding.why += ": 5% is 5"
        if len(marks) > 1:
            finding.looks.append("several units")
    if (found := _sentinel(store, index)) is not None:
        texts, n, nearest = found
        markers = ", ".join(f'"{marker}"' for marker in ["", *sorted(finding.markers), *texts])
        finding.looks.append(
            f"{texts[0]} ({n_rows(n)}; next {number_text(nearest)}): missing? Then null_values: [{markers}], "
            "missing: median"
        )


def _sentinel(store: ColumnStore, index: int) -> tuple[list[str], int, float] | None:
    """Find a number that may mean missing: repeated, and further from the others than they are wide.

    Returns:
        The number as it is written, its rows and the number that is nearest to it.
    """
    (n_numbers,) = store.row(f"SELECT count(DISTINCT number) FROM numbers_{index}")
    if n_numbers < 5:
        return None
    for order, other in (("ASC", "max"), ("DESC", "min")):
        (end, n, texts), (nearest, *_) = store.connection.execute(
            f"SELECT number, sum(n)::BIGINT, list(value ORDER BY value) FROM numbers_{index} GROUP BY number "
            f"ORDER BY number {order} LIMIT 2"
        ).fetchall()
        (far,) = store.row(f"SELECT {other}(number) FROM numbers_{index}")
        gap, width = abs(nearest - end), abs(far - nearest)
        # Zero is often a measured value: it must be where no other number is near.
        is_far = 5 * gap > width and n_numbers > 20 if end == 0 else gap > width or end < 0 <= nearest
        if end in SENTINELS and n > 1 and is_far:
            return texts, n, nearest
    return None
