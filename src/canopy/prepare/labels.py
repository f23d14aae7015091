"""Labels: which rows of the raw table are kept for theirs, and which classes there are."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from canopy.prepare.interim import Codes, class_values, known_labels, read_codes, with_column
from canopy.schema import TableSchema
from canopy.tables.duplicates import FirstRows
from canopy.tables.rows import read_table


def labelled_rows(
    path: str | Path,
    schema: TableSchema,
    *,
    classes: Sequence[str] | None = None,
    found: Counter[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read the rows of the raw table that the policies of `table` keep.

    Args:
        path: The table.
        schema: What it is.
        classes: Labels that are left once the policy for rare classes was applied; None to leave it out.
        found: Is told the numbers of `rows`, and of those that are `unlabelled` or `repeated`.

    Yields:
        Rows as `read_table` gives them; those without a label, of rare classes and, with
        `table.duplicates: drop`, those that an earlier row equals in features and label are left out.
    """
    target = schema.target.column
    is_first = FirstRows() if schema.duplicates == "drop" else None
    for batch in read_table(path, schema):
        rows = batch.filter(batch[target].is_valid()) if batch[target].null_count else batch
        repeated = 0
        if is_first is not None:
            first = is_first(rows.select([*schema.features, target]))
            repeated = len(first) - int(first.sum())
            rows = rows.filter(pa.array(first))
        if found is not None:
            found.update(rows=batch.num_rows, unlabelled=batch[target].null_count, repeated=repeated)
        if classes is not None:
            rows = with_column(rows, target, known_labels(rows[target], schema, classes))
            rows = rows.filter(rows[target].is_valid())
        yield rows


def read_labels(path: Path, schema: TableSchema) -> tuple[Codes, dict[str, str]]:
    """Read the class of each row.

    Returns:
        Index of the class, shape (n_rows,), and value and name of each class.
    """
    codes, values = read_codes(path, schema.target.column)
    names = class_values(values, schema)
    order = {value: index for index, value in enumerate(names)}
    kind = np.min_scalar_type(-len(values))
    return np.array([order[value] for value in values], kind)[codes], names
