"""Go through a table once: count what can be counted in all rows, and keep a sample of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from canopy.prepare.labels import class_values, number_ranges
from canopy.prepare.reductions import Floats, Moments, Sample
from canopy.prepare.scaling import as_floats, datetime_parts
from canopy.schema import TableSchema
from canopy.schema.columns import Ignored
from canopy.tables.parse import Problems
from canopy.tables.rows import TableReader

Codes = NDArray[np.int64]

# Most values of the sample, most classes, and most categories of a column that are counted one by one.
N_SAMPLED = 8_000_000
N_CLASSES = 10_000
# Of a numeric target.
N_RANGES = 4
N_COUNTED = 1000


@dataclass
class Profile:
    """What one pass over a table collects, of rows with a label that nothing is wrong with.

    All but `frame` and `codes` is of all rows. Times are numbers, in days since 1970.
    """

    schema: TableSchema
    n_rows: int
    n_unlabelled: int
    n_missing: Counter[str]
    n_out_of_range: Counter[str]
    moments: defaultdict[str, Moments]
    # Value to name of each class, and the rows of each, shape (n_classes,); of a number, of four ranges,
    # whose rows are those of the sample in proportion.
    classes: dict[str, str]
    class_counts: Codes
    # A sample of the rows: features, then the label; and the class of each, shape (n_sampled,).
    frame: pd.DataFrame
    codes: Codes
    problems: Problems

    def numbers(self, name: str) -> Floats:
        """Give a numeric or datetime column of the sample, with NaN for missing values."""
        return np.asarray(self.frame[name], np.float64)

    def present(self, names: Iterable[str]) -> list[str]:
        """Choose the columns of which the sample has values."""
        return [name for name in names if self.frame[name].notna().any()]

    def value_counts(self, name: str) -> pd.Series:
        """Count sampled rows with each value, the most frequent first, then in ascending order."""
        return self.frame[name].value_counts().sort_index().sort_values(ascending=False, kind="stable")

    def category_counts(self, name: str) -> Codes:
        """Count sampled rows of each class with each of the most frequent categories, others and none."""
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
    counts = np.bincount(first * n_second + second, minlength=n_first * n_second)
    return counts.reshape(n_first, n_second)


def read_profile(path: str, schema: TableSchema, *, seed: int) -> Profile:
    """Read a table; `seed` is that of the sample."""
    reader = TableReader(path, _without_policies(schema), with_target=True, n_shown=1)
    target = schema.target.column
    columns = [*schema.features, target]
    sample = Sample(seed, size=N_SAMPLED // len(columns))
    moments: defaultdict[str, Moments] = defaultdict(Moments)
    n_missing, n_out_of_range, labels = Counter[str](), Counter[str](), Counter[str]()
    n_read = n_labelled = 0
    is_number = schema.target.is_numeric
    text_columns = [*schema.categorical, *([] if is_number else [target])]
    for batch in reader.valid_batches():
        n_read += batch.num_rows
        rows = batch.filter(batch[target].is_valid())
        # Of 0 and -0, which are equal, hashes must be so too.
        numbers = {name: as_floats(rows[name]) + 0.0 for name in schema.numeric}
        for name, column in schema.numeric.items():
            outside = (numbers[name] < column.low) | (numbers[name] > column.high)
            n_out_of_range[name] += int(np.count_nonzero(outside))
        numbers |= {name: datetime_parts(rows[name])["time"] for name in schema.datetime}
        for name, values in numbers.items():
            moments[name].update(values)
        n_missing.update({name: rows[name].null_count for name in columns})
        n_labelled += rows.num_rows
        if is_number:
            numbers[target] = as_floats(rows[target])
        else:
            found = pc.value_counts(rows[target]).to_pylist()
            labels.update({item["values"]: item["counts"] for item in found})
        if len(labels) > N_CLASSES:
            raise ValueError(
                f"The target must be a class; got more than {N_CLASSES:,} different values in {target!r}: "
                "of numbers, set table.target.kind=numeric"
            )
        drawn = sample.draw(rows.num_rows)
        texts = {name: _texts(rows[name].take(pa.array(drawn))) for name in text_columns}
        sample.add({name: values[drawn] for name, values in numbers.items()} | texts)
    if not (n_rows := n_labelled) or any(not column for column, _ in reader.problems.counts):
        reader.problems.raise_error()
    if not n_rows:
        raise ValueError(f"{path} must hold rows with a label below its header; got {n_read:,} without one")
    sampled: dict[str, Any] = {name: sample.column(name) for name in columns}
    if is_number:
        codes, classes = number_ranges(sampled[target], n=N_RANGES)
        codes = codes.astype(np.int64)
        class_counts = np.round(np.bincount(codes, minlength=len(classes)) * (n_rows / len(codes)))
        class_counts = class_counts.astype(np.int64)
        sampled[target] = np.array([*classes], object)[codes]
        text_columns.append(target)
    frame = pd.DataFrame(sampled | {name: pd.Categorical(sampled[name]) for name in text_columns}, copy=False)
    if not is_number:
        classes = class_values([*labels], schema)
        codes = pd.Index([*classes]).get_indexer(pd.Index(frame[target]))
        class_counts = np.array([labels[value] for value in classes])
    return Profile(
        *(schema, n_rows, n_read - n_rows, n_missing, n_out_of_range, moments),
        *(classes, class_counts, frame, codes, reader.problems),
    )


def _texts(values: pa.Array) -> NDArray[Any]:
    """Give texts, None for null, as objects that equal ones share."""
    encoded = values.dictionary_encode()
    texts = np.array([*encoded.dictionary.to_pylist(), None], object)
    found: NDArray[Any] = texts[encoded.indices.fill_null(-1).to_numpy()]
    return found


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
