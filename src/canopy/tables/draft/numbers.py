"""Find what a column of numbers is: amounts, codes, keys or times."""

import re
from typing import NamedTuple

from canopy.schema.columns import Datetime, Ignored, Key, Numeric
from canopy.schema.file_format import FileFormat
from canopy.tables.draft.categories import set_categorical
from canopy.tables.draft.dates import find_dates
from canopy.tables.draft.number_style import MARKS, store_numbers, used_characters
from canopy.tables.draft.values import ColumnValues
from canopy.tables.draft.wording import n_rows, number_text, quote_all

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

    def are_within(self, ends: tuple[int, int]) -> bool:
        return ends[0] <= self.low and self.high <= ends[1]


STATISTICS = r"""min(number), max(number), bool_and(number = floor(number)),
    bool_or(regexp_full_match(text, '[+-]?0\d+')), max(length(regexp_extract(text, '^[+-]?(\d+)$', 1)))"""


def set_numeric_kind(values: ColumnValues, file_format: FileFormat, unit: str = "") -> None:
    """Find what a column is whose values are all numbers."""
    store_numbers(values, file_format, unit)
    finding = values.finding
    numbers = _Numbers(*values.ask(STATISTICS, source="numbers"))
    ends = (" or " if values.n_values == 2 else " to ").join(map(number_text, numbers[:2]))
    finding.why = f"integers {ends}" if numbers.are_integers and values.n_values > 2 else ends
    if not numbers.are_integers:
        _set_numeric(values, unit)
    elif values.n_values == 1:
        set_categorical(values)
    elif (why := _key_reason(values, numbers)) is not None:
        finding.column, finding.why = Key(), why
    elif (why := _code_reason(values, numbers)) is not None:
        if values.n_values > values.n_filled / 2:
            finding.column, finding.why = Ignored(), f"{values.n_values:,} different codes"
        else:
            set_categorical(values)
        finding.why += f", {why}"
    elif numbers.are_within(YYYYMMDD) and find_dates(values) is not None:
        finding.column, finding.why = Datetime(format="%Y%m%d"), f"{finding.why}, days as YYYYMMDD"
    elif numbers.are_within(EPOCH) and TIME_NAME.search(finding.name):
        finding.column, finding.why = Datetime(format="epoch"), "seconds since 1970"
    else:
        _set_numeric(values, unit)
        if numbers.are_within(EPOCH):
            finding.looks.append("seconds since 1970? Then {kind: datetime, format: epoch}")


def _code_reason(values: ColumnValues, numbers: _Numbers) -> str | None:
    """Say why integers are no amounts; None if they may be."""
    if numbers.have_zeros:
        return "leading zeros"
    if numbers.n_digits > N_EXACT_DIGITS:
        return f"integers of {numbers.n_digits} digits"
    return "codes by the name" if values.n_values > 2 and CODE_NAME.search(values.finding.name) else None


def _key_reason(values: ColumnValues, numbers: _Numbers) -> str | None:
    """Say why integers name rows; None if they do not."""
    if not values.is_unique:
        return None
    if numbers.n_digits > N_EXACT_DIGITS:
        return f"another integer of {numbers.n_digits} digits in each row"
    if KEY_NAME.search(values.finding.name):
        return "another integer in each row, a key by the name"
    if YEAR_NAME.search(values.finding.name):
        return None
    n_possible = numbers.high - numbers.low + 1
    (ascending,) = values.table.ask(
        "SELECT bool_and(number > before) FROM (SELECT number, lag(number) OVER (ORDER BY row) AS before "
        f"FROM numbers_{values.index})"
    )
    if n_possible == values.n_values or (ascending and n_possible < 2 * values.n_values):
        return f"running numbers {numbers.low:.0f} to {numbers.high:.0f}"
    return None


def _set_numeric(values: ColumnValues, unit: str) -> None:
    finding = values.finding
    finding.column = Numeric()
    if marks := [*used_characters(values, "".join(MARKS)), *([unit] if unit else [])]:
        finding.set(marks=tuple(marks))
        finding.why += f", {quote_all(marks)} left out"
        if "%" in marks:
            finding.why += ": 5% is 5"
        if len(marks) > 1:
            finding.looks.append("several units")
    if (found := _find_sentinel(values)) is not None:
        texts, n, nearest = found
        markers = ", ".join(f'"{marker}"' for marker in ["", *sorted(finding.markers), *texts])
        finding.looks.append(
            f"{texts[0]} ({n_rows(n)}; next {number_text(nearest)}): missing? Then null_values: [{markers}], "
            "missing: median"
        )


def _find_sentinel(values: ColumnValues) -> tuple[list[str], int, float] | None:
    """Find a number that may mean missing: repeated, and further from the others than they are wide.

    Returns:
        The number as it is written, its rows and the number that is nearest to it.
    """
    connection, numbers = values.table.connection, f"numbers_{values.index}"
    n_different, *ends = values.ask("count(DISTINCT number), max(number), min(number)", source="numbers")
    if n_different < 5:
        return None
    for order, far in zip(("ASC", "DESC"), ends, strict=True):
        (end, n, texts), (nearest, *_) = connection.execute(
            f"SELECT number, sum(n)::BIGINT, list(text ORDER BY text) FROM {numbers} GROUP BY number "
            f"ORDER BY number {order} LIMIT 2"
        ).fetchall()
        gap, width = abs(nearest - end), abs(far - nearest)
        # Zero is often a measured value: it must be where no other number is near.
        is_far = 5 * gap > width and n_different > 20 if end == 0 else gap > width or end < 0 <= nearest
        if end in SENTINELS and n > 1 and is_far:
            return texts, n, nearest
    return None
