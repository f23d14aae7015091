"""Find the classes of the target, and the columns that give them away."""

from collections.abc import Sequence

from canopy.schema.columns import Categorical, Datetime, Numeric, Target
from canopy.schema.file_format import FileFormat
from canopy.tables.draft.number_style import not_numbers, store_numbers
from canopy.tables.draft.values import ColumnValues, Value
from canopy.tables.draft.wording import n_rows, percent, quote_all

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


def set_target(values: ColumnValues, file_format: FileFormat) -> None:
    """Find the classes.

    Raises:
        ValueError: If the target has fewer than two classes that have enough rows, or seems to be a quantity.
    """
    finding = values.finding
    target = Target(column=finding.name)
    classes = _classes(values, file_format)
    rare = [value for value in classes if value.n < target.min_count]
    more = ", ..." if len(classes) > 4 else ""
    if len(classes) - len(rare) < 2:
        got = ", ".join(f"{quote_all([value])} ({n_rows(value.n)})" for value in classes[:4])
        raise ValueError(
            f"--target must have at least two classes with {target.min_count} rows each, one for each split; "
            f"got in {finding.name!r}: {got}{more}"
        )
    finding.column = target
    shares = [f"{quote_all([value])} {percent(value.n, values.n_filled)}" for value in classes[:4]]
    finding.why = f"{len(classes)} classes: {', '.join(shares)}{more}"
    if values.n_missing:
        finding.set(missing="drop")
        finding.looks.append(f"{n_rows(values.n_missing)} without a label: dropped")
    if rare:
        n_rare = sum(value.n for value in rare)
        is_much = n_rare > MERGED_SHARE * values.n_filled and n_rare >= target.min_count
        finding.set(rare="merge" if is_much else "drop")
        finding.looks.append(
            f"classes with fewer than {target.min_count} rows are "
            f"{'merged into one' if is_much else 'dropped'}: {quote_all(rare)} ({n_rows(n_rare)})"
        )
    elif len(classes) <= N_LISTED:
        finding.set(classes={value.text: value.text for value in classes})


def _classes(values: ColumnValues, file_format: FileFormat) -> list[Value]:
    """Give the values of the target, in ascending order.

    Raises:
        ValueError: If there are too many.
    """
    name, n_values = values.finding.name, values.n_values
    if not n_values:
        raise ValueError(f"--target must have a value in some rows; got none in {name!r}")
    if is_number := not not_numbers(values, file_format):
        store_numbers(values, file_format)
        n_numbers, low, high = values.ask(
            "count(DISTINCT number), min(number), max(number)", source="numbers"
        )
        if n_numbers > N_NUMBERS:
            raise ValueError(
                f"--target must be a class; got {n_numbers:,} different numbers from {low:g} to {high:g} in "
                f"{name!r}.\nRegression does not exist yet: write ranges of it as classes into a column."
            )
    if n_values > min(N_CLASSES, values.n_filled / 2) and n_values > 2:
        raise ValueError(
            f"--target must have at most {N_CLASSES:,} classes that repeat; got {n_values:,} values "
            f"in {values.n_filled:,} rows of {name!r}, such as {quote_all(values.first(1))}"
        )
    if not is_number:
        return values.first(n_values, order="text")
    query = f"SELECT text, n, row FROM numbers_{values.index} ORDER BY number"
    return [Value(*row) for row in values.table.connection.execute(query).fetchall()]


def find_leaks(columns: Sequence[ColumnValues], target: ColumnValues) -> None:
    """Add a remark to each column that alone predicts the target."""
    table = target.table
    step = -(-table.n_rows // N_SAMPLED)
    table.connection.execute(
        f"CREATE TABLE sample AS SELECT rows.*, text AS label FROM rows JOIN values_{target.index} "
        f"ON c{target.index} = text WHERE hash(rows.rowid) % {step} = 0"
    )
    n_most, n_sampled = table.ask(
        "SELECT max(n), sum(n) FROM (SELECT count(*) AS n FROM sample GROUP BY label)"
    )
    for values in columns:
        finding = values.finding
        if not isinstance(finding.column, Numeric | Categorical | Datetime):
            continue
        n_right, n_seen = _count_right(values, n_sampled)
        if n_seen < n_sampled / 2:
            continue
        error = (n_seen - n_right) / n_seen / (1 - n_most / n_sampled)
        if error <= SUSPICIOUS_SHARE:
            loud = "GIVES THE TARGET AWAY: " if error <= LEAK_SHARE else ""
            share = percent(n_right, n_seen)
            finding.looks.insert(
                0, f"{loud}right alone in {share} of rows; {{kind: ignored}} unless known before"
            )


def _count_right(values: ColumnValues, n_sampled: int) -> tuple[int, int]:
    """Count the rows that have the most frequent class of their value, and those of frequent values."""
    value, source = f"c{values.index}", "sample"
    is_categorical = isinstance(values.finding.column, Categorical)
    if values.n_values > n_sampled / (2 * N_ROWS_PER_VALUE) and not is_categorical:
        order = value
        if isinstance(values.finding.column, Numeric):
            source, order = f"sample JOIN numbers_{values.index} ON {value} = text", "number"
        value = f"ntile({max(1, min(N_BINS, n_sampled // N_ROWS_PER_VALUE))}) OVER (ORDER BY {order})"
    labels = f"SELECT {value} AS value, label FROM {source}"
    pairs = f"SELECT value, label, count(*) AS n FROM ({labels}) GROUP BY ALL"
    by_value = f"SELECT max(n) AS most, sum(n) AS n FROM ({pairs}) GROUP BY value"
    n_right, n_seen = values.table.ask(
        f"SELECT coalesce(sum(most), 0), coalesce(sum(n), 0) FROM ({by_value}) WHERE n >= {N_ROWS_PER_VALUE}"
    )
    return n_right, n_seen
