"""The predictions of a table: their columns, and their scores where the table has labels."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from canopy.prepare.preprocessor import Vocabulary
from canopy.schema import TableSchema

# Value in the raw table and name of each class, in the order of the model's outputs.
Classes = Mapping[int, str] | Mapping[str, str]


class PredictionColumns:
    """Lays out predictions: keys, value and name of the likeliest class, probability of each class.

    A column of the predictions that has the name of a key gets the suffix `_predicted`.
    """

    def __init__(self, keys: Sequence[str], classes: Classes) -> None:
        self._keys, self._classes = keys, classes
        empty = pa.RecordBatch.from_pydict({name: pa.array([], pa.string()) for name in keys})
        self.schema = self(empty, np.empty((0, len(classes)), np.float32)).schema

    def __call__(self, rows: pa.RecordBatch, probabilities: NDArray[np.float32]) -> pa.RecordBatch:
        likeliest, names = probabilities.argmax(axis=1), [*self._classes.values()]
        predicted = {
            "label": pa.array(np.array([*self._classes])[likeliest]),
            "class": pa.DictionaryArray.from_arrays(pa.array(likeliest, pa.int32()), names),
        }
        for name, column in zip(names, probabilities.T, strict=True):
            predicted[f"probability_{name}"] = pa.array(column)
        # Features that are keys too are no texts.
        columns = {name: rows[name].cast(pa.string()) for name in self._keys}
        for name, values in predicted.items():
            columns[f"{name}_predicted" if name in self._keys else name] = values
        return pa.RecordBatch.from_pydict(columns)


class LabelScores:
    """Scores predictions where a table has labels, batch by batch; `classes` are values in the table."""

    def __init__(self, schema: TableSchema, classes: Sequence[str]) -> None:
        self._schema, self._classes = schema, Vocabulary(values=tuple(classes))
        self.n_rows = self._n_right = 0
        self._log_loss = 0.0

    def update(self, labels: pa.Array, probabilities: NDArray[np.float32]) -> None:
        """Add rows: value of the target, null where there is none, and probabilities, shape (B, K)."""
        if self._schema.target.rare == "merge":
            # Here, since a server, which lays out predictions too, has not all that it needs.
            from canopy.prepare.labels import known_labels

            labels = known_labels(labels, self._schema, self._classes.values)
        codes, _ = self._classes.encode(labels)
        known = codes < len(self._classes.values)
        codes, probabilities = codes[known], probabilities[known].astype(float)
        self.n_rows += len(codes)
        self._n_right += int(np.count_nonzero(probabilities.argmax(axis=1) == codes))
        likelihood = probabilities[np.arange(len(codes)), codes]
        self._log_loss -= float(np.log(np.maximum(likelihood, np.finfo(np.float32).tiny)).sum())

    def __str__(self) -> str:
        accuracy, log_loss = self._n_right / self.n_rows, self._log_loss / self.n_rows
        return f"On {self.n_rows:,} rows with a label: accuracy {accuracy:.4f}, log loss {log_loss:.4f}"
