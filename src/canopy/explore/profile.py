"""Go through a table once, and keep a sample of its rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from canopy.prepare.labels import class_values
from canopy.prepare.reductions import Floats, hash_numbers
from canopy.prepare.scaling import MICROSECONDS_PER_DAY, as_floats
from canopy.schema import TableSchema
from canopy.schema.columns import Ignored
from canopy.tables.problems import Problems
from canopy.tables.rows import TableReader

Codes = NDArray[np.int64]

# Most values of the sample, most classes, and most categories of a column that are counted one by one.
N_SAMPLED = 8_000_000
N_CLASSES = 10_000
N_COUNTED = 1000

# A column of the sample while it is drawn; a table may have one of the name alone.
HASH = "(hash)"


@dataclass
class Profile:
    """What one pass over a table collects, of rows with a label that nothing is wrong with.

    Attributes:
        n_rows: So many there are.
        frame: A sample of them: numbers, days since 1970, texts, and the label.
        classes: Value to name of each class.
        codes: Class of each row of the sample, shape (n_sampled,).
    """

    schema: TableSchema
    n_rows: int
    n_unlabelled: int
    frame: pd.DataFrame
    classes: dict[str, str]
    codes: Codes
    problems: Problems

    @property
    def class_counts(self) -> Codes:
        """Rows of each class in the sample, shape (n_classes,)."""
        return np.bincount(self.codes, minlength=len(self.classes))

    def numbers(self, name: str) -> Floats:
        """Give a numeric column, or days since 1970, with NaN for missing values."""
        return np.asarray(self.frame[name], np.float64)

    def present(self, names: Iterable[str]) -> list[str]:
        """Choose the columns that have values."""
        return [name for name in names if self.frame[name].notna().any()]

    def value_counts(self, name: str) -> pd.Series:
        """Count the rows with each value, the most frequent first, then in ascending order."""
        return self.frame[name].value_counts().sort_index().sort_values(ascending=False, kind="stable")

    def category_counts(self, name: str) -> Codes:
        """Count the rows of each class with each of the most frequent categories, with others, with none."""
        values = self.value_counts(name).index[:N_COUNTED]
        places = values.get_indexer(pd.Index(self.frame[name]))
        places[places < 0] = len(values)
        places[self.frame[name].isna()] = len(values) + 1
        # So that all have a row: one more of each, of no class.
        counts = crosstab(np.append(places, len(values) + 1), np.append(self.codes, len(self.classes)))
        return counts[:, :-1]


def crosstab(first: Codes, second: Codes, *, n_second: int | None = None) -> Codes:
    """Count the rows with each pair of codes."""
    n_second = n_second or int(second.max(initial=0)) + 1
    n_first = int(first.max(initial=0)) + 1
    return np.bincount(first * n_second + second, minlength=n_first * n_second).reshape(-1, n_second)


def read_profile(path: str, schema: TableSchema, *, seed: int) -> Profile:
    """Read a table; `seed` is that of the sample.

    Raises:
        ValueError: If the file or lines of it do not have the form of the table, or no row has a label.
    """
    reader = TableReader(path, _without_policies(schema), with_target=True, n_shown=1)
    target = schema.target.column
    columns = [*schema.features, target]
    parts: list[pa.RecordBatch] = []
    n_read = n_rows = 0
    # One row in so many is kept.
    step = 1
    for batch in reader.valid_batches():
        rows = batch.select(columns).filter(batch[target].is_valid())
        hashes = hash_numbers(np.arange(n_rows, n_rows + rows.num_rows, dtype=np.uint64), seed)
        n_read, n_rows = n_read + batch.num_rows, n_rows + rows.num_rows
        parts.append(_thin(rows.append_column(HASH, pa.array(hashes)), step))
        while sum(part.num_rows for part in parts) * len(columns) > N_SAMPLED:
            step *= 2
            parts = [_thin(part, step) for part in parts]
    if not n_rows or any(not column for column, _ in reader.problems.counts):
        reader.problems.raise_error()
    if not n_rows:
        raise ValueError(f"{path} must hold rows with a label below its header; got {n_read:,} without one")
    sample = pa.Table.from_batches(parts)
    found: dict[str, Any] = {name: as_floats(sample[name]) for name in schema.numeric}
    found |= {name: sample[name].to_pandas() for name in (*schema.categorical, target)}
    for name in schema.datetime:
        found[name] = as_floats(sample[name].cast(pa.int64())) / MICROSECONDS_PER_DAY
    frame = pd.DataFrame({name: found[name] for name in columns})
    labels = frame[target].unique().tolist()
    if len(labels) > N_CLASSES:
        raise ValueError(
            f"The target must be a class; got more than {N_CLASSES:,} different values in {target!r}. "
            "Regression does not exist yet"
        )
    classes = class_values(labels, schema)
    codes = pd.Index([*classes]).get_indexer(pd.Index(frame[target]))
    return Profile(schema, n_rows, n_read - n_rows, frame, classes, codes, reader.problems)


def _thin(rows: pa.RecordBatch, step: int) -> pa.RecordBatch:
    return rows.filter(pa.array(rows[HASH].to_numpy() % np.uint64(step) == 0))


def _without_policies(schema: TableSchema) -> TableSchema:
    """Accept what policies would reject or change, since the exploration reports it; keys are not read."""
    accepted: dict[str, dict[str, Any]] = {
        "numeric": {"missing": "mean", "range": (None, None)},
        "categorical": {"missing": "category", "unseen": "other"},
        "datetime": {"missing": "median"},
    }
    columns = {
        name: column.model_copy(update=accepted[column.kind]) if column.kind in accepted else Ignored()
        for name, column in schema.columns.items()
    }
    target = schema.target.model_copy(update={"missing": "drop"})
    return schema.model_copy(update={"columns": columns, "target": target})
