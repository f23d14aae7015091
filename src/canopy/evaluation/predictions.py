"""The predictions of a table: their columns, the file they are written to, and their scores."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from canopy.places import check_writable
from canopy.prepare.preprocessor import Vocabulary
from canopy.schema import TableSchema
from canopy.tables.text import find_files
from canopy.tables.writer import STANDARD_OUTPUT, SUFFIXES

# Value in the raw table and name of each class.
Classes = Mapping[int, str] | Mapping[str, str]


def check_target(path: str | Path, *, source: str | Path) -> None:
    """Check that predictions can take the place of `path`."""
    path = Path(path)
    if path == STANDARD_OUTPUT:
        return
    if path.suffix not in SUFFIXES:
        raise ValueError(f"The output must end in {' or '.join(SUFFIXES)}, or be -; got {str(path)!r}")
    check_writable(path, option="output")
    if path.exists() and any(path.samefile(file) for file in find_files(source)):
        raise ValueError(f"The output must be another file than the input; found {path} as both")


def rejected_path(output: Path) -> Path | None:
    """Name the file of rejected rows; there is none next to standard output."""
    return None if output == STANDARD_OUTPUT else output.with_name(f"{output.name}.rejected.csv")


def tabulate(probabilities: NDArray[np.float32], classes: Classes) -> pa.Table:
    """Lay out the predictions of some rows.

    Args:
        probabilities: Probability of each class, shape (B, K).
        classes: Value in the raw table and name of each class, in the order of the model's outputs.

    Returns:
        `label` (the likeliest class's value in the raw table), `class` (its name) and
        `probability_<class name>` for each class.

    Examples:
        >>> tabulate(np.array([[0.25, 0.75]], dtype=np.float32), {3: "Apple", 5: "Pear"}).to_pylist()
        [{'label': 5, 'class': 'Pear', 'probability_Apple': 0.25, 'probability_Pear': 0.75}]
    """
    likeliest = probabilities.argmax(axis=1)
    columns = {
        "label": pa.array(np.array([*classes])[likeliest]),
        "class": pa.DictionaryArray.from_arrays(pa.array(likeliest, pa.int32()), [*classes.values()]),
    }
    for index, name in enumerate(classes.values()):
        columns[f"probability_{name}"] = pa.array(probabilities[:, index])
    return pa.table(columns)


class PredictionColumns:
    """Lays out predictions: the keys of each row, then what `tabulate` gives.

    A column of `tabulate` that has the name of a key gets the suffix `_predicted`.

    Args:
        keys: Columns that name a row.
        classes: Value and name of each class.
    """

    def __init__(self, keys: Sequence[str], classes: Classes) -> None:
        self._keys, self._classes = keys, classes
        empty = pa.RecordBatch.from_pydict({name: pa.array([], pa.string()) for name in keys})
        self.schema = self(empty, np.empty((0, len(classes)), np.float32)).schema

    def __call__(self, rows: pa.RecordBatch, probabilities: NDArray[np.float32]) -> pa.RecordBatch:
        predicted = tabulate(probabilities, self._classes)
        # Features that are keys too are no texts.
        columns = {name: rows[name].cast(pa.string()) for name in self._keys}
        for name in predicted.column_names:
            columns[f"{name}_predicted" if name in self._keys else name] = predicted[name].combine_chunks()
        return pa.RecordBatch.from_pydict(columns)


class LabelScores:
    """Scores predictions where a table has labels, batch by batch.

    Args:
        schema: The table.
        classes: Value of each class, in the order of the model's outputs, K of them.

    Attributes:
        n_rows: Number of rows with a label that is one of the classes.
    """

    def __init__(self, schema: TableSchema, classes: Sequence[str]) -> None:
        self._schema, self._classes = schema, Vocabulary(values=tuple(classes))
        # Rows by label, then by prediction.
        self._counts = np.zeros((len(classes), len(classes)), np.int64)
        self._log_loss = 0.0

    def update(self, labels: pa.Array, probabilities: NDArray[np.float32]) -> None:
        """Add rows.

        Args:
            labels: Value of the target, null where there is none, shape (B,).
            probabilities: Probability of each class, shape (B, K).
        """
        n_classes = len(self._counts)
        if self._schema.target.rare == "merge":
            # Here, since a server, which lays out predictions too, has not all that it needs.
            from canopy.prepare.labels import known_labels

            labels = known_labels(labels, self._schema, self._classes.values)
        codes, _ = self._classes.encode(labels)
        known = codes < n_classes
        codes, probabilities = codes[known], probabilities[known].astype(float)
        pairs = codes * n_classes + probabilities.argmax(axis=1)
        self._counts += np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)
        likelihood = probabilities[np.arange(len(codes)), codes]
        self._log_loss -= float(np.log(np.maximum(likelihood, np.finfo(np.float32).tiny)).sum())

    @property
    def n_rows(self) -> int:
        return int(self._counts.sum())

    def __str__(self) -> str:
        # Here, as above.
        from canopy.tasks.scores import Scores

        nll = self._log_loss / self.n_rows
        scores = Scores(class_names=self._classes.values, confusion=self._counts, nll=nll, ece=math.nan)
        return (
            f"On {self.n_rows:,} rows with a label: accuracy {scores.accuracy:.4f}, "
            f"macro-F1 {scores.macro_f1:.4f}, log loss {nll:.4f}"
        )
