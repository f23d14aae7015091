"""The file that predictions are written to: its columns, its formats, whole or not at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from canopy.places import check_writable
from canopy.tables.writer import SUFFIXES

# Value in the raw table and name of each class.
Classes = Mapping[int, str] | Mapping[str, str]


def check_target(path: str | Path, *, source: str | Path) -> None:
    """Check that predictions can take the place of `path`.

    Args:
        path: Where they are to be written.
        source: The file that is predicted, which has to stay.

    Raises:
        ValueError: If the suffix is none of `SUFFIXES`, or the place is no file's, or the source's.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"The output must end in {' or '.join(SUFFIXES)}; got {str(path)!r}")
    check_writable(path, option="output")
    if path.exists() and path.samefile(source):
        raise ValueError(f"The output must be another file than the input; found {path} as both")


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
        columns = {name: rows[name] for name in self._keys}
        return pa.RecordBatch.from_pydict(
            columns | {name: predicted[name].combine_chunks() for name in predicted.column_names}
        )
