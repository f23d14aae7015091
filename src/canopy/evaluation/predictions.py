"""The columns of a table's predictions."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class PredictionColumns:
    """Lays out predictions: keys, value and name of the likeliest class, probability of each class.

    A column of the predictions that has the name of a key gets the suffix `_predicted`.
    """

    def __init__(self, keys: Sequence[str], classes: Mapping[str, str]) -> None:
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
