"""Find the classes of the target, and the columns that give them away."""

from collections.abc import Mapping
from typing import Any

from canopy.schema.columns import Categorical, Column, Datetime, Numeric, Target
from canopy.schema.file_format import FileFormat
from canopy.tables.draft.finding import Counts, Finding, n_rows, percent, quote_all
from canopy.tables.draft.numbers import not_numbers, store_numbers
from canopy.tables.draft.store import ColumnStore, Value

# A target with more different numbers is no class.
N_NUMBERS = 30
N_CLASSES = 1000
# So many classes are listed in the draft, with a name each for people.
N_LISTED = 60
# Rare classes with a greater share of the rows are merged, since that is much to drop.
MERGED_SHARE = 0.01

# A column that leaves at most so much of the errors of the most frequent class gives the target away, or is
# suspicious.
LEAK_SHARE, SUSPICIOUS_SHARE = 0.01, 0.05
N_SAMPLED = 100_000
N_BINS = 500
# Values with fewer rows show nothing.
N_ROWS_PER_VALUE = 5


def set_target(store: ColumnStore, index: int, finding: Finding, file_format: FileFormat) -> None:
    """Find the classes.

    Raises:
        ValueError: If the target has fewer than two classes that have enough rows, or seems to be a quantity.
    """
    counts, name = Counts.of(store, index), finding.name
    target = Target(column=name)
    classes = _classes(store, index, counts, file_format, name)
    rare = [value for value in classes if value.n < target.min_count]
    frequent = [value for value in classes if value.n >= target.min_count]
    if len(frequent) < 2:
        got = ", ".join(f"{quote_all([value])} ({n_rows(value.n)})" for value in classes[:4])
        raise ValueError(
            f"--target must have at least two classes with {target.min_count} rows each, one for each split; "
            f"got in {name!r}: {got}{', ...' if len(classes) > 4 else ''}"
        )
    finding.column = target
    shares = [f"{quote_all([value])} {percent(value.n, counts.n_filled)}" for value in classes[:4]]
    finding.why = f"{len(classes)} classes: {', '.join(shares)}{', ...' if len(classes) > 4 else ''}"
    if counts.n_missing:
        finding.set(missing="drop")
        finding.looks.append(f"{n_rows(counts.n_missing)} without a label: dropped")
    if rare:
        n_rare = sum(value.n for value in rare)
        is_much = n_rare > MERGED_SHARE * counts.n_filled and n_rare >= target.min_count
        finding.set(rare="merge" if is_much else "drop")
        finding.looks.append(
            f"classes with fewer than {target.min_count} rows are "
            f"{'merged into one' if is_much else 'dropped'}: {quote_all(rare)} ({n_rows(n_rare)})"
        )
    elif len(classes) <= N_LISTED:
        finding.set(classes={value.text: value.text for value in classes})


def _classes(
    store: ColumnStore, index: int, counts: Counts, file_format: FileFormat, name: str
) -> list[Value]:
    """Give the values of the target, in ascending order.

    Raises:
        ValueError: If there are too many.
    """
    if not counts.n_values:
        raise ValueError(f"--target must have a value in some rows; got none in {name!r}")
    if is_number := not not_numbers(store, index, file_format):
        store_numbers(store, index, file_format)
        n_numbers, low, high = store.row(
            f"SELECT count(DISTINCT number), min(number), max(number) FROM numbers_{index}"
        )
        if n_numbers > N_NUMBERS:
            raise ValueError(
                f"--target must be a class; got {n_numbers:,} different numbers from {low:g} to {high:g} in "
                f"{name!r}.\nRegression does not exist yet: write ranges of it as classes into a column."
            )
    if counts.n_values > min(N_CLASSES, counts.n_filled / 2) and counts.n_values > 2:
        raise ValueError(
            f"--target must have at most {N_CLASSES:,} classes that repeat; got {counts.n_values:,} values "
            f"in {counts.n_filled:,} rows of {name!r}, such as {quote_all(store.first(index, 1))}"
        )
    if not is_number:
        return store.first(index, counts.n_values, order="value")
    rows = store.connection.execute(f"SELECT value, n, row FROM numbers_{index} ORDER BY number").fetchall()
    return [Value(*row) for row in rows]


def find_leaks(store: ColumnStore, findings: Mapping[int, Finding], target: int) -> None:
    """Add a remark to each column that alone predicts the target."""
    step = -(-store.n_rows // N_SAMPLED)
    store.connection.execute(
        f"CREATE TABLE sample AS SELECT rows.* FROM rows JOIN values_{target} "
        f"ON c{target} = value WHERE hash(rows.rowid) % {step} = 0"
    )
    n_most, n_sampled = store.row(
        f"SELECT max(n), sum(n) FROM (SELECT count(*) AS n FROM sample GROUP BY c{target})"
    )
    for index, finding in findings.items():
        if index == target or not isinstance(finding.column, Numeric | Categorical | Datetime):
            continue
        n_right, n_seen = _n_right(store, index, target, finding.column, n_sampled)
        if n_seen < n_sampled / 2:
            continue
        error = (n_seen - n_right) / n_seen / (1 - n_most / n_sampled)
        if error <= SUSPICIOUS_SHARE:
            loud = "GIVES THE TARGET AWAY: " if error <= LEAK_SHARE else ""
            share = percent(n_right, n_seen)
            finding.looks.insert(
                0, f"{loud}right alone in {share} of rows; {{kind: ignored}} unless known before"
            )


def _n_right(store: ColumnStore, index: int, target: int, column: Column, n_sampled: int) -> tuple[int, int]:
    """Count the rows that have the most frequent class of their value, and those of frequent values."""
    counts = Counts.of(store, index)
    value: Any = f"c{index}"
    source = "sample"
    if counts.n_values > n_sampled / (2 * N_ROWS_PER_VALUE) and not isinstance(column, Categorical):
        n_bins = max(1, min(N_BINS, n_sampled // N_ROWS_PER_VALUE))
        if isinstance(column, Numeric):
            source = f"(SELECT number, c{target} FROM sample JOIN numbers_{index} ON c{index} = value)"
        order = "number" if isinstance(column, Numeric) else f"c{index}"
        value = f"ntile({n_bins}) OVER (ORDER BY {order})"
    labels = f"SELECT {value} AS value, c{target} AS label FROM {source}"
    pairs = f"SELECT value, label, count(*) AS n FROM ({labels}) GROUP BY ALL"
    values = f"SELECT max(n) AS most, sum(n) AS n FROM ({pairs}) GROUP BY value"
    n_right, n_seen = store.row(
        f"SELECT coalesce(sum(most), 0), coalesce(sum(n), 0) FROM ({values}) WHERE n >= {N_ROWS_PER_VALUE}"
    )
    return n_right, n_seen
