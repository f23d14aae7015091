"""Find the kind of the target, its classes, and the columns that give it away."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from canopy.schema.columns import Categorical, Datetime, Numeric, Target
from canopy.schema.table import FileFormat
from canopy.tables.draft.dialect import find_strange, remove_strange, to_finite
from canopy.tables.draft.kinds import declare_marks
from canopy.tables.draft.values import DraftedColumn, Value, n_rows, quote_all
from canopy.tables.parse import LARGEST

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
    declare_marks(values)
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
