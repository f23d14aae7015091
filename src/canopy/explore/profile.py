"""Go through a table once: exact counts of all rows, and a sample of rows for what needs whole rows."""

from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from canopy.explore.counting import ValueCounts
from canopy.prepare.labels import class_values
from canopy.prepare.reductions import Moments, Sample
from canopy.prepare.scaling import MICROSECONDS_PER_DAY, as_floats
from canopy.schema import TableSchema
from canopy.schema.columns import Ignored, Numeric
from canopy.tables.duplicates import RowCounter, hash_values
from canopy.tables.rows import Problems, TableReader

Codes = NDArray[np.int64]

# Values that the sample holds, and that are counted, over all columns.
N_SAMPLED = 8_000_000
N_COUNTED = 1_000_000
# Most classes.
N_CLASSES = 10_000


class Profile:
    """What one pass over a table collects. Rows without a label are counted, and otherwise left out.

    Args:
        schema: The table, as declared.
        seed: Seed of the sample.

    Attributes:
        n_rows: Rows with a label that nothing is wrong with.
        n_unlabelled: Rows without a label.
        n_duplicates: Rows that an earlier one equals in features and label.
        labels: Labels, in the order in which they came.
        n_missing: Missing values of each feature.
        n_out_of_range: Values outside the range of each numeric column.
        counts: Values of each feature; of categorical ones by label.
        moments: Moments of numeric columns, and of datetime columns in days since 1970.
        problems: Values that no column may have; their rows are left out.
    """

    def __init__(self, schema: TableSchema, *, seed: int) -> None:
        self.schema = schema
        self.n_rows = self.n_unlabelled = self.n_duplicates = 0
        self.labels: list[str] = []
        self.n_missing: Counter[str] = Counter()
        self.n_out_of_range: Counter[str] = Counter()
        self._features = {name: schema.columns[name] for name in schema.features}
        names = [*self._features, schema.target.column]
        self.counts = {name: ValueCounts(max(1000, N_COUNTED // len(names))) for name in names}
        self.moments = {name: Moments() for name in (*schema.numeric, *schema.datetime)}
        self.problems = Problems()
        self._sample = Sample(seed, size=max(1000, N_SAMPLED // len(names)))

    def update(self, batch: pa.RecordBatch, repeated: RowCounter) -> None:
        """Add rows, read without policies."""
        target = self.schema.target.column
        self.n_unlabelled += batch[target].null_count
        rows = batch.filter(batch[target].is_valid())
        self.n_rows += rows.num_rows
        codes = self._codes(rows[target])
        self.counts[target].update(rows[target], codes)
        sampled: dict[str, NDArray[Any]] = {target: codes.astype(np.int16)}
        for name, column in self._features.items():
            values = rows[name]
            self.n_missing[name] += values.null_count
            if column.kind == "categorical":
                sampled[name] = hash_values(values)
                self.counts[name].update(values, codes)
            else:
                if isinstance(column, Numeric):
                    numbers = as_floats(values)
                    outside = (numbers < column.low) | (numbers > column.high)
                    self.n_out_of_range[name] += int(outside.sum())
                else:
                    numbers = as_floats(values.cast(pa.int64())) / MICROSECONDS_PER_DAY
                sampled[name] = numbers
                self.moments[name].update(numbers)
                self.counts[name].update(values)
        repeated.update(rows.select([*self._features, target]))
        self._sample.update(sampled, rows.num_rows)

    def _codes(self, labels: pa.Array) -> Codes:
        """Number labels in the order in which they come."""
        known = {*self.labels}
        self.labels += [label for label in labels.unique().to_pylist() if label not in known]
        if len(self.labels) > N_CLASSES:
            raise ValueError(
                f"The target must be a class; got more than {N_CLASSES:,} different values in "
                f"{self.schema.target.column!r}. Regression does not exist yet"
            )
        codes = pc.index_in(labels, pa.array(self.labels, pa.string()))
        return np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)

    @cached_property
    def classes(self) -> dict[str, str]:
        """Value to name of each class."""
        return class_values(self.labels, self.schema)

    @cached_property
    def _order(self) -> Codes:
        return np.array([[*self.classes].index(label) for label in self.labels], np.int64)

    @cached_property
    def sample(self) -> dict[str, NDArray[Any]]:
        """Rows drawn at random: numbers, days since 1970 and hashes of categories."""
        return self._sample.rows()

    @cached_property
    def codes(self) -> Codes:
        """Class of each row of the sample, shape (n_sampled,)."""
        codes: Codes = self._order[self.sample[self.schema.target.column]]
        return codes

    def by_class(self, name: str) -> tuple[list[Any], Codes]:
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
    profile = Profile(schema, seed=seed)
    with RowCounter() as repeated:
        for batch in reader.valid_batches():
            profile.update(batch, repeated)
        profile.n_duplicates = repeated.n_repeated()
    profile.problems = reader.problems
    if not profile.n_rows or any(not column for column, _ in reader.problems.counts):
        reader.problems.raise_error()
    if not profile.n_rows:
        n_unlabelled = f"{profile.n_unlabelled:,} without one"
        raise ValueError(f"{path} must hold rows with a label below its header; got {n_unlabelled}")
    return profile


def without_policies(schema: TableSchema) -> TableSchema:
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
