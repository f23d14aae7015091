"""Find the kind of each column from all its values, the classes of the target, and what gives them away."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from canopy.files import SPLITS
from canopy.schema.columns import Categorical, Datetime, Key, Numeric, Target
from canopy.schema.table import FileFormat
from canopy.tables.draft.dialect import MARKS, find_dates, find_strange, remove_strange, to_finite
from canopy.tables.draft.values import DraftedColumn, Value, n_rows, quote_all
from canopy.tables.parse import LARGEST

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
# A target with more different numbers is no class.
N_NUMBERS = 30
N_CLASSES = 1000
# So many classes are listed in the draft, with a name each for people.
N_LISTED = 60
# Rare classes with at least this share of the rows become one class, since that is much to drop.
MERGED_SHARE = 0.01
# A column that leaves at most so much of the errors of the most frequent class gives the target away.
LEAK_SHARE = 0.05
N_SAMPLED = 20_000
N_ROWS_PER_VALUE = 5
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
        _declare_marks(values)
        if n_different >= 5:
            _look_for_sentinel(values, high - low)


def _declare_marks(values: DraftedColumn) -> None:
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


def set_target(values: DraftedColumn, file_format: FileFormat, *, kind: str | None = None) -> None:
    """Find the kind of the target, unless it is given, and its classes.

    Raises:
        ValueError: If fewer than two classes have enough rows, or a numeric target has texts.
    """
    strange = find_strange(values, lambda texts: to_finite(texts, file_format))
    is_quantity = strange is not None and values.n_values > N_NUMBERS
    if kind == "numeric" or (kind is None and is_quantity):
        _set_numeric_target(values, file_format, strange)
        return
    target = Target(column=values.name)
    classes = _classes(values, file_format)
    rare = [value for value in classes if value.n < target.min_count]
    counts = [f"{quote_all([value])} ({n_rows(value.n)})" for value in classes[:4]]
    shown = ", ".join([*counts, *["..."] * (len(classes) > 4)])
    if len(classes) - len(rare) < 2:
        raise ValueError(
            f"--target must have at least two classes with {target.min_count} rows each, one for each split; "
            f"got in {values.name!r}: {shown or 'none'}"
        )
    values.column, values.why = target, f"{len(classes)} classes: {shown}"
    if values.n_missing:
        values.declare(missing="drop")
        values.looks.append(f"{n_rows(values.n_missing)} without a label: dropped")
    n_rare, policy, merged_name = sum(value.n for value in rare), "dropped", target.merged_name
    if n_rare >= max(target.min_count, MERGED_SHARE * values.n_filled):
        while values.which([merged_name]):
            merged_name = f"rare {merged_name}"
        policy = "merged"
        values.declare(rare="merge", merged_name=merged_name)
    elif rare:
        values.declare(rare="drop")
    elif len(classes) <= N_LISTED:
        values.declare(classes={value.text: value.text for value in classes})
    if rare:
        values.looks.append(f"classes with few rows: {quote_all(rare)} ({n_rows(n_rare)}): {policy}")


def _set_numeric_target(
    values: DraftedColumn, file_format: FileFormat, strange: Sequence[Value] | None
) -> None:
    if strange is None:
        shown = quote_all(values.first(4))
        raise ValueError(f"--target-kind numeric must have numbers in {values.name!r}; got {shown}")
    remove_strange(values, strange)
    values.store_numbers(lambda texts: to_finite(texts, file_format).values)
    low, high = values.ask("min(number), max(number)", source="numbers")
    values.column = Target(column=values.name, kind="numeric")
    values.why = f"a number, {low:g} to {high:g}: regression"
    _declare_marks(values)
    if values.n_missing:
        values.declare(missing="drop")
        values.looks.append(f"{n_rows(values.n_missing)} without a value: dropped")


def _classes(values: DraftedColumn, file_format: FileFormat) -> list[Value]:
    n_values, name = values.n_values, values.name
    if n_values > N_CLASSES:
        raise ValueError(f"--target must have at most {N_CLASSES:,} classes; got {n_values:,} in {name!r}")
    classes = values.first(N_CLASSES, order="text")
    if find_strange(values, lambda texts: to_finite(texts, file_format)) != []:
        return classes
    numbers = to_finite(pa.array([value.text for value in classes]), file_format).values.to_pylist()
    return [value for _, value in sorted(zip(numbers, classes, strict=True))]


def find_leaks(columns: Sequence[DraftedColumn], target: DraftedColumn, file_format: FileFormat) -> None:
    """Add a remark to each column from which alone a tree predicts the target."""
    # Here, since its import takes a second, and a mistake in the table should not wait for it.
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    sample = target.table.connection.sql(
        f"SELECT rows.* FROM rows JOIN values_{target.index} ON c{target.index} = text "
        f"WHERE hash(rows.rowid) % {-(-target.n_filled // N_SAMPLED)} = 0"
    ).to_arrow_table()
    texts = sample[f"c{target.index}"].combine_chunks()
    if is_number := isinstance(target.column, Target) and target.column.is_numeric:
        labels = to_finite(texts, file_format).values.to_numpy(zero_copy_only=False)
        # What is left of the variance.
        error = float(labels.std() > 0)
    else:
        labels = texts.dictionary_encode().indices.to_numpy()
        error = 1 - np.bincount(labels).max() / len(labels)
    kind = DecisionTreeRegressor if is_number else DecisionTreeClassifier
    tree = kind(min_samples_leaf=N_ROWS_PER_VALUE)
    for values in columns:
        texts = sample[f"c{values.index}"].combine_chunks()
        if isinstance(values.column, Numeric):
            known = to_finite(texts, file_format).values.to_numpy(zero_copy_only=False)
            known = np.clip(known, -LARGEST, LARGEST)
        elif isinstance(values.column, Categorical | Datetime):
            known = texts.dictionary_encode().indices.fill_null(-1).to_numpy()
        else:
            continue
        share = tree.fit(known[:, None], labels).score(known[:, None], labels)
        # A sample may have one class alone.
        if error and 1 - share <= LEAK_SHARE * error:
            right = f"explains {share:.1%} alone" if is_number else f"right alone in {share:.1%} of rows"
            values.looks.append(f"GIVES THE TARGET AWAY: {right}; {{kind: ignored}} unless known before")
