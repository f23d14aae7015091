"""Go through a table once: exact counts of all rows, and a sample of rows for what needs whole rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from canopy.explore.counting import ValueCounts
from canopy.prepare.datetime_parts import MICROSECONDS_PER_DAY, as_floats
from canopy.prepare.labels import class_values
from canopy.prepare.reductions import Floats, Moments, Sample
from canopy.schema import TableSchema
from canopy.schema.columns import Categorical, Column, Datetime, Ignored, Key, Numeric
from canopy.tables.duplicates import FirstRows, hash_values
from canopy.tables.rows import Problems, TableReader

# Values that the sample holds, and that are counted, over all columns.
N_SAMPLED = 8_000_000
N_COUNTED = 1_000_000


@dataclass
class Profile:
    """What one pass over a table collects. Rows without a label are counted, and otherwise left out.

    Attributes:
        schema: The table, as declared.
        n_rows: Rows with a label that nothing is wrong with.
        n_unlabelled: Rows without a label.
        n_duplicates: Rows that an earlier one equals in features and label.
        n_missing: Missing values of each feature.
        n_out_of_range: Values outside the range of each numeric column that has any.
        counts: Values of each feature; of categorical ones by label.
        moments: Moments of numeric columns, and of datetime columns in days since 1970.
        sample: Rows drawn at random: numbers, days since 1970 and hashes of categories (0 if missing).
        labels: Labels, in the order in which they came.
        problems: Values that no column may have; their rows are left out.
    """

    schema: TableSchema
    n_rows: int
    n_unlabelled: int
    n_duplicates: int
    n_missing: Counter[str]
    n_out_of_range: Counter[str]
    counts: Mapping[str, ValueCounts]
    moments: Mapping[str, Moments]
    sample: Mapping[str, NDArray[Any]]
    labels: list[str]
    problems: Problems

    @cached_property
    def classes(self) -> dict[str, str]:
        """Value to name of each class."""
        return class_values(self.labels, self.schema)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.array([[*self.classes].index(label) for label in self.labels], np.int64)

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """Class of each row of the sample, shape (n_sampled,)."""
        return self._order[self.sample[self.schema.target.column].astype(np.int64)]

    def by_class(self, name: str) -> tuple[list[Any], NDArray[np.int64]]:
        """Give values of a categorical column, the most frequent first, and counts (n_values, n_classes)."""
        values, counts = self.counts[name].by_class(len(self.labels))
        ordered = np.zeros((len(values), len(self.classes)), np.int64)
        ordered[:, self._order] = counts
        return values, ordered


def read_profile(path: str, schema: TableSchema, *, seed: int) -> Profile:
    """Read a table.

    Args:
        path: The table.
        schema: What it is.
        seed: Seed of the sample.

    Raises:
        ValueError: If the file or lines of it do not have the form of the table, or no row has a label.
    """
    reader = TableReader(path, without_policies(schema), with_target=True)
    pass_ = _Pass(schema, seed)
    for batch in reader.valid_batches():
        pass_.update(batch)
    problems = reader.problems
    if any(not column for column, _ in problems.counts) or (problems.counts and not pass_.n_rows):
        problems.raise_error()
    if not pass_.n_rows:
        raise ValueError(
            f"{path} must hold rows with a label below its header; got {pass_.n_unlabelled:,} without one"
        )
    return Profile(
        schema=schema,
        n_rows=pass_.n_rows,
        n_unlabelled=pass_.n_unlabelled,
        n_duplicates=pass_.n_duplicates,
        n_missing=pass_.n_missing,
        n_out_of_range=pass_.n_out_of_range,
        counts=pass_.counts,
        moments=pass_.moments,
        sample=pass_.sample.rows(),
        labels=pass_.labels,
        problems=problems,
    )


def without_policies(schema: TableSchema) -> TableSchema:
    """Accept what policies would reject or change, since the exploration reports it."""
    columns: dict[str, Column] = {}
    for name, column in schema.columns.items():
        match column:
            case Numeric():
                update: dict[str, Any] = {"missing": "mean", "range": (None, None)}
            case Categorical():
                update = {"missing": "category", "unseen": "other"}
            case Datetime():
                update = {"missing": "median"}
            case _:
                update = {}
        columns[name] = Ignored() if isinstance(column, Key) else column.model_copy(update=update)
    target = schema.target.model_copy(update={"missing": "drop"})
    return schema.model_copy(update={"columns": columns, "target": target})


class _Pass:
    """The state of the pass."""

    def __init__(self, schema: TableSchema, seed: int) -> None:
        self.schema, self.is_first = schema, FirstRows()
        self.n_rows = self.n_unlabelled = self.n_duplicates = 0
        self.labels: list[str] = []
        self.n_missing: Counter[str] = Counter()
        self.n_out_of_range: Counter[str] = Counter()
        names = [*schema.features, schema.target.column]
        self.counts = {name: ValueCounts(max(1000, N_COUNTED // len(names))) for name in names}
        self.moments = {name: Moments() for name in (*schema.numeric, *schema.datetime)}
        self.sample = Sample(seed, size=max(1000, N_SAMPLED // len(names)))

    def update(self, batch: pa.RecordBatch) -> None:
        target = self.schema.target.column
        self.n_unlabelled += batch[target].null_count
        rows = batch.filter(batch[target].is_valid())
        self.n_rows += rows.num_rows
        codes = self._codes(rows[target])
        self.counts[target].update(rows[target], codes)
        sampled: dict[str, NDArray[Any]] = {target: codes}
        for name in self.schema.features:
            values = rows[name]
            self.n_missing[name] += values.null_count
            if name in self.schema.categorical:
                sampled[name] = hash_values(values)
                self.counts[name].update(values, codes)
            else:
                sampled[name] = numbers = self._numbers(name, values)
                self.moments[name].update(numbers)
                self.counts[name].update(values)
        first = self.is_first(rows.select([*self.schema.features, target]))
        self.n_duplicates += len(first) - int(first.sum())
        self.sample.update(sampled, rows.num_rows)

    def _codes(self, labels: pa.Array) -> NDArray[np.int64]:
        """Number labels in the order in which they come."""
        self.labels += [label for label in labels.unique().to_pylist() if label not in self.labels]
        codes = pc.index_in(labels, pa.array(self.labels, pa.string()))
        return np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)

    def _numbers(self, name: str, values: pa.Array) -> Floats:
        if name in self.schema.datetime:
            return as_floats(values.cast(pa.int64())) / MICROSECONDS_PER_DAY
        column = self.schema.numeric[name]
        numbers = as_floats(values)
        if n_outside := int(((numbers < column.low) | (numbers > column.high)).sum()):
            self.n_out_of_range[name] += n_outside
        return numbers
