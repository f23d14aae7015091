"""Find the classes of the target, and the columns that give them away."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from canopy.schema.columns import Categorical, Datetime, Numeric, Target
from canopy.schema.file_format import FileFormat
from canopy.tables.draft.formats import find_strange, number_converter
from canopy.tables.draft.values import DraftedColumn, Value, n_rows, quote_all
from canopy.tables.parse import LARGEST

# A target with more different numbers is no class.
N_NUMBERS = 30
N_CLASSES = 1000
# So many classes are listed in the draft, with a name each for people.
N_LISTED = 60

# Rare classes with a greater share of the rows are too much to become one without being asked for.
MERGED_SHARE = 0.01

# A column that leaves at most so much of the errors of the most frequent class gives the target away.
LEAK_SHARE = 0.05
N_SAMPLED = 20_000
# Values with fewer rows show nothing.
N_ROWS_PER_VALUE = 5


def set_target(values: DraftedColumn, file_format: FileFormat) -> None:
    """Find the classes; a ValueError if fewer than two have enough rows, or they seem to be a quantity."""
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
    n_rare, policy = sum(value.n for value in rare), "reject"
    if 0 < n_rare < target.min_count:
        policy = "drop"
        values.declare(rare=policy)
    elif 0 < n_rare <= MERGED_SHARE * values.n_filled:
        policy, merged_name = "merge", target.merged_name
        while values.which([merged_name]):
            merged_name = f"rare {merged_name}"
        values.declare(rare=policy, merged_name=merged_name)
    elif len(classes) <= N_LISTED:
        values.declare(classes={value.text: value.text for value in classes})
    if rare:
        hint = ": set rare to drop or merge" if policy == "reject" else f": rare: {policy}"
        values.looks.append(f"classes with few rows: {quote_all(rare)} ({n_rows(n_rare)}){hint}")


def _classes(values: DraftedColumn, file_format: FileFormat) -> list[Value]:
    """Give the values of the target, in ascending order."""
    n_values, name = values.n_values, values.name
    if n_values > N_CLASSES:
        raise ValueError(f"--target must have at most {N_CLASSES:,} classes; got {n_values:,} in {name!r}")
    classes, convert = values.first(N_CLASSES, order="text"), number_converter(file_format)
    if find_strange(values, convert) != []:
        return classes
    if n_values > N_NUMBERS:
        raise ValueError(
            f"--target must be a class; got {n_values} different numbers in {name!r}.\n"
            "Regression does not exist yet: write ranges of it as classes into a column."
        )
    numbers = convert(pa.array([value.text for value in classes])).values.to_pylist()
    return [value for _, value in sorted(zip(numbers, classes, strict=True))]


def find_leaks(columns: Sequence[DraftedColumn], target: DraftedColumn, file_format: FileFormat) -> None:
    """Add a remark to each column from which alone a tree predicts the target."""
    # Here, since its import takes a second, and a mistake in the table should not wait for it.
    from sklearn.tree import DecisionTreeClassifier

    sample = target.table.connection.sql(
        f"SELECT rows.* FROM rows JOIN values_{target.index} ON c{target.index} = text "
        f"WHERE hash(rows.rowid) % {-(-target.table.n_rows // N_SAMPLED)} = 0"
    ).to_arrow_table()
    labels = sample[f"c{target.index}"].combine_chunks().dictionary_encode().indices.to_numpy()
    error = 1 - np.bincount(labels).max() / len(labels)
    tree = DecisionTreeClassifier(min_samples_leaf=N_ROWS_PER_VALUE)
    for values in columns:
        texts = sample[f"c{values.index}"].combine_chunks()
        if isinstance(values.column, Numeric):
            known = number_converter(file_format)(texts).values.to_numpy(zero_copy_only=False)
            known = np.clip(known, -LARGEST, LARGEST)
        elif isinstance(values.column, Categorical | Datetime):
            known = texts.dictionary_encode().indices.fill_null(-1).to_numpy()
        else:
            continue
        share = tree.fit(known[:, None], labels).score(known[:, None], labels)
        # A sample may have one class alone.
        if error and 1 - share <= LEAK_SHARE * error:
            right = f"right alone in {share:.1%} of rows"
            values.looks.append(f"GIVES THE TARGET AWAY: {right}; {{kind: ignored}} unless known before")
