"""Keep what a model predicted for each row, so that runs can be compared row by row."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from torch import Tensor

from canopy.files import atomic_write
from canopy.training.callbacks.whole_split import WholeSplit


class PredictionFile(WholeSplit):
    """Write the predictions of a whole split as a Parquet file, one row for each of its rows, in order.

    The columns are `label` and `predicted`, indices of classes, and `probability_0`, `probability_1` and
    so on, the probability of each class.

    Args:
        path: Where the file goes; `{split}` in it is replaced by the name of the split.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def finish(self, split: str, *, probabilities: Tensor, labels: Tensor) -> None:
        columns = {"label": labels, "predicted": probabilities.argmax(dim=1)}
        columns |= {f"probability_{k}": column for k, column in enumerate(probabilities.T.contiguous())}
        table = pa.table({name: column.numpy() for name, column in columns.items()})
        with atomic_write(Path(self.path.format(split=split))) as temporary:
            pa.parquet.write_table(table, temporary)
