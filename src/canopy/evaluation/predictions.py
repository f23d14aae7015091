"""The file that predictions are written to: its columns, its formats, whole or not at all."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from canopy.files import atomic_write
from canopy.places import check_writable

# Value in the raw table and name of each class.
Classes = Mapping[int, str] | Mapping[str, str]

# What opens a writer, by the file's suffix.
WRITERS: dict[str, Callable[[str, pa.Schema], pa.csv.CSVWriter | pa.parquet.ParquetWriter]] = {
    ".csv": pa.csv.CSVWriter,
    ".parquet": pa.parquet.ParquetWriter,
}


def check_target(path: str | Path, *, source: str | Path) -> None:
    """Check that predictions can take the place of `path`.

    Args:
        path: Where they are to be written.
        source: The file that is predicted, which has to stay.

    Raises:
        ValueError: If the suffix is none of `WRITERS`, or the place is no file's, or the source's.
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise ValueError(f"The output must end in one of {[*WRITERS]}; found {str(path)!r}")
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


@contextmanager
def open_predictions(path: str | Path, classes: Classes) -> Iterator[Callable[[pa.Table], None]]:
    """Write predictions block by block; the file is replaced when the block of code ends without an error.

    Args:
        path: The file, in the format of its suffix.
        classes: Value and name of each class.

    Yields:
        A function that adds what `tabulate` laid out.
    """
    columns = tabulate(np.empty((0, len(classes)), dtype=np.float32), classes).schema
    with (
        atomic_write(path) as temporary,
        WRITERS[temporary.suffix](str(temporary), columns) as writer,
    ):
        yield writer.write
