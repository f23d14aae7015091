"""Labels: which rows of the raw table are kept for theirs, and which classes there are."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from canopy.engines import Engine
from canopy.names import by_number, write_apart
from canopy.prepare.interim import Codes, part_paths, read_parts, read_rows, replace_column
from canopy.prepare.reductions import Floats
from canopy.prepare.scaling import as_floats
from canopy.schema import TableSchema
from canopy.tables.convert import known_labels
from canopy.tables.parse import Problems
from canopy.tables.rows import FirstRows, read_table

# Ranges of a numeric target by which splits are stratified, at most; each has so many rows or more.
N_STRATA, STRATUM_ROWS = 10, 50


def labelled_rows(
    path: str | Path,
    schema: TableSchema,
    *,
    classes: Sequence[str] | None = None,
    found: Counter[str] | None = None,
    problems: Problems | None = None,
    is_first: FirstRows | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read the rows of the raw table that the policies for labels, rare classes and duplicates keep.

    Rare classes are all but `classes`, if these are known. `found` counts the `rows`, and those that are
    `unlabelled` or `repeated`. Of one file of several, `problems` collects what is wrong (`read_table`) and
    `is_first` knows the rows of the files before it.
    """
    target = schema.target.column
    if schema.target.is_numeric:
        classes = None
    if schema.duplicates == "drop" and is_first is None:
        is_first = FirstRows()
    for batch in read_table(path, schema, problems=problems):
        rows = batch.filter(batch[target].is_valid()) if batch[target].null_count else batch
        repeated = 0
        if is_first is not None:
            first = is_first(rows.select([*schema.features, target]))
            repeated = len(first) - int(first.sum())
            rows = rows.filter(pa.array(first))
        if found is not None:
            found.update(rows=batch.num_rows, unlabelled=batch[target].null_count, repeated=repeated)
        yield known_rows(rows, schema, classes) if classes is not None else rows


def known_rows(rows: pa.RecordBatch, schema: TableSchema, classes: Sequence[str]) -> pa.RecordBatch:
    """Apply the policy for rare classes, all but `classes`: merge them, or drop their rows."""
    target = schema.target.column
    rows = replace_column(rows, target, known_labels(rows[target], schema, classes))
    return rows.filter(rows[target].is_valid())


def read_strata(path: Path, schema: TableSchema, engine: Engine) -> tuple[Codes, dict[str, str], list[int]]:
    """Give the class of each row in a stage's table as `class_codes` does, of a number the range it is in.

    The last are the numbers of rows of the table's parts.
    """
    target = schema.target.column
    if not schema.target.is_numeric:
        [column], sizes = read_parts(path, target, engine=engine)
        return *class_codes(*column, schema), sizes
    values = [*engine.map(partial(_numbers, target), part_paths(path))]
    return *number_ranges(np.concatenate(values)), [*map(len, values)]


def _numbers(name: str, path: Path) -> Floats:
    return np.concatenate(
        [np.empty(0), *(as_floats(rows[name]) for rows in read_rows(path, {name: pa.float64()}))]
    )


def number_ranges(values: Floats, *, n: int = N_STRATA) -> tuple[Codes, dict[str, str]]:
    """Divide numbers, shape (n_rows,), into at most `n` ranges of about as many rows, and name each."""
    shares = np.linspace(0, 1, min(n, max(1, len(values) // STRATUM_ROWS)) + 1)
    ends = np.unique(np.quantile(values, shares, method="inverted_cdf"))
    # A range has its upper end.
    codes = np.searchsorted(ends[1:-1], values).astype(np.int8)
    texts = write_apart(ends)
    names = [f"{low} to {high}" for low, high in pairwise(texts)] or texts
    return codes, {name: name for name in names}


def class_codes(codes: Codes, values: Sequence[str], schema: TableSchema) -> tuple[Codes, dict[str, str]]:
    """Give the index of each row's class, and value and name of each class, in the order of the outputs.

    Rows are given by the code of their label, codes by their label (`values`).
    """
    names = class_values(values, schema)
    order = {value: index for index, value in enumerate(names)}
    kind = np.min_scalar_type(-len(values))
    return np.array([order[value] for value in values], kind)[codes], names


def class_values(labels: Sequence[str], schema: TableSchema) -> dict[str, str]:
    """Give value and name of each class, in the order of the model's outputs, if rows have these labels."""
    listed, keep = schema.target.classes, schema.target.keep
    if listed == "auto":
        return {value: value for value in sorted({*labels}, key=by_number)}
    listed = {value: name for value, name in listed.items() if keep is None or value in keep}
    if schema.target.rare == "reject":
        return listed
    merged = {value: value for value in labels if value not in listed}
    return {value: name for value, name in listed.items() if value in labels} | merged
