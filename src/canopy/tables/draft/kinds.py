"""Find the kind of each column from all its values."""

import re

from canopy.files import SPLITS
from canopy.schema.columns import Categorical, Datetime, Key, Numeric
from canopy.schema.table import FileFormat
from canopy.tables.draft.dialect import MARKS, find_dates, find_strange, remove_strange, to_finite
from canopy.tables.draft.values import DraftedColumn, n_rows, quote_all

# `Unnamed: 0` and the like are the names that spreadsheets and pandas give the column of row numbers.
KEY_NAME = re.compile(
    r"(?i:(^|[\W_])(id|key|uuid|guid|index|idx|rownames?|row|nr|no)$|^unnamed|^\.{3}\d+$)|[a-z](ID|Id)$|^ID"
)
YEAR_NAME = re.compile(r"(?i:year|date|time|age|day|month)")
CODE_NAME = re.compile(r"(?i:(^|[\W_])(id|zip|plz)([\W_]|$)|(code|type|class|category|zip)$)|[a-z](ID|Id)$")
TIME_NAME = re.compile(r"(?i:epoch|time|date|stamp|_(at|ts|on)$)")
# Seconds since 1970 of the years 1990 to 2040, and days of 1900 to 2100 as YYYYMMDD.
EPOCH = (631_152_000, 2_208_988_800)
YYYYMMDD = (19_000_101, 21_001_231)
# Double precision holds each integer of so many digits.
N_EXACT_DIGITS = 15
# Numbers that often mean "no value", if all others are far away.
SENTINELS = {sign * int("9" * n) for n in range(2, 7) for sign in (-1, 1)} | {-1, -9, -88, -888, 88888}
# From so many categories on, rare ones become `other`.
N_FREQUENT, N_CATEGORIES = 50, 5000
# With more different values per row than this, most say nothing about other rows; texts of so many words
# are free text then.
MANY_VALUES_SHARE, FREE_TEXT_SHARE, FREE_TEXT_WORDS = 0.5, 0.2, 3
STATISTICS = r"""min(number), max(number), bool_and(number = floor(number)),
    bool_or(regexp_full_match(text, '[+-]?0\d+')), max(length(regexp_extract(text, '^[+-]?(\d+)$', 1))),
    count(DISTINCT number)"""


def set_kind(values: DraftedColumn, file_format: FileFormat) -> None:
    """Find the kind of a column without its null markers; other texts that mean missing are removed."""
    if why := _why_useless(values):
        values.why = why
        return
    if (strange := find_strange(values, lambda texts: to_finite(texts, file_format))) is not None:
        remove_strange(values, strange)
        values.store_numbers(lambda texts: to_finite(texts, file_format).values)
        _set_number_kind(values)
    elif (dates := find_dates(values)) is not None:
        form, strange, is_ambiguous = dates
        remove_strange(values, strange)
        values.column, values.why = Datetime(format=form), f"such as {quote_all(values.first(1))}"
        if is_ambiguous:
            values.looks.append("day or month first? All values fit both")
    else:
        _set_text_kind(values)
    if values.n_missing:
        values.why += f", {values.n_missing / values.table.n_rows:.1%} missing"
        if isinstance(values.column, Numeric | Categorical | Datetime):
            policy = "category" if isinstance(values.column, Categorical) else "median"
            values.declare(missing=policy)


def _why_useless(values: DraftedColumn) -> str | None:
    if form := values.table.unusable.get(values.name):
        return f"its values are {form}"
    if not values.n_values:
        return "no text or number in any row"
    if values.n_values == 1 and not values.n_missing:
        return f"{quote_all(values.first(1))} in every row"
    return None


def _set_number_kind(values: DraftedColumn) -> None:
    low, high, are_integers, have_zeros, n_digits, n_different = values.ask(STATISTICS, source="numbers")
    values.why = f"{'integers ' if are_integers else ''}{low:g} to {high:g}"
    are_long = n_digits > N_EXACT_DIGITS
    is_code = have_zeros or are_long or (values.n_values > 2 and CODE_NAME.search(values.name))
    if values.n_values == 1:
        _set_categorical(values)
    elif are_integers and values.is_unique and (are_long or _are_running(values, high - low + 1)):
        values.column, values.why = Key(), f"another integer in each row, {low:.0f} to {high:.0f}"
    elif are_integers and is_code and values.n_values > MANY_VALUES_SHARE * values.n_filled:
        values.why = f"{values.n_values:,} different codes"
    elif are_integers and is_code:
        _set_categorical(values)
        values.why += ", codes by the name, leading zeros or length"
    elif are_integers and YYYYMMDD[0] <= low <= high <= YYYYMMDD[1] and find_dates(values) is not None:
        values.column, values.why = Datetime(format="%Y%m%d"), f"{values.why}, days as YYYYMMDD"
    elif are_integers and EPOCH[0] <= low <= high <= EPOCH[1] and TIME_NAME.search(values.name):
        values.column, values.why = Datetime(format="epoch"), "seconds since 1970"
    else:
        values.column = Numeric()
        declare_marks(values)
        if n_different >= 5:
            _look_for_sentinel(values, high - low)


def declare_marks(values: DraftedColumn) -> None:
    """Declare the marks around the numbers of a column."""
    if marks := [mark for mark in MARKS if values.ask("bool_or(contains(text, ?))", mark) == (True,)]:
        values.declare(marks=tuple(marks))
        values.why += f", {' '.join(marks)} left out{': 5% is 5' if '%' in marks else ''}"


def _are_running(values: DraftedColumn, n_possible: float) -> bool:
    """Whether integers, another one in each row, seem to number the rows."""
    if KEY_NAME.search(values.name) or YEAR_NAME.search(values.name):
        return KEY_NAME.search(values.name) is not None
    before = f"SELECT number, lag(number) OVER (ORDER BY row) AS before FROM numbers_{values.index}"
    [(ascending,)] = values.query(f"SELECT bool_and(number > before) FROM ({before})")
    return bool(n_possible == values.n_values or (ascending and n_possible < 2 * values.n_values))


def _look_for_sentinel(values: DraftedColumn, width: float) -> None:
    """Add a remark on a number that may mean missing: repeated, and far from all others."""
    for order in ("ASC", "DESC"):
        (end, n, text), (nearest, *_) = values.query(
            f"SELECT number, sum(n)::BIGINT, min(text) FROM numbers_{values.index} GROUP BY number "
            f"ORDER BY number {order} LIMIT 2"
        )
        if end in SENTINELS and n > 1 and (2 * abs(nearest - end) > width or end < 0 <= nearest):
            markers = ", ".join(f'"{marker}"' for marker in ["", *sorted(values.markers), text])
            policies = f"null_values: [{markers}], missing: median"
            values.looks.append(f"{text} ({n_rows(n)}; next {nearest:g}): missing? Then {policies}")


def _set_text_kind(values: DraftedColumn) -> None:
    (n_words,) = values.ask("sum(n * (1 + length(text) - length(replace(text, ' ', '')))) / sum(n)")
    share = values.n_values / values.n_filled if values.n_values > N_FREQUENT else 0
    if {"train", "test"} <= {value.text.lower() for value in values.first(4)} <= {*SPLITS}:
        values.why = "names of splits"
        values.looks.append(f"given split? Then split.method: predefined, split.column: {values.name}")
    elif n_words >= FREE_TEXT_WORDS and share > FREE_TEXT_SHARE:
        values.why = f"free text: {values.n_values:,} different ones, {n_words:.0f} words on average"
    elif values.is_unique:
        values.column, values.why = Key(), "another value in each row"
    elif share > MANY_VALUES_SHARE:
        values.why = f"{values.n_values:,} different values in {n_rows(values.n_filled)}"
    else:
        _set_categorical(values)


def _set_categorical(values: DraftedColumn) -> None:
    values.column = Categorical()
    values.why = f"{values.n_values:,} values: {quote_all(values.first(4, order='n DESC, text'))}"
    if values.n_values > N_FREQUENT:
        values.declare(min_count=5 if values.n_filled > 10 * values.n_values else 2)
    if values.n_values > N_CATEGORIES:
        values.declare(max_categories=N_CATEGORIES)
