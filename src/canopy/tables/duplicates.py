"""Find rows that repeat an earlier one."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from canopy.tables.convert import Bools


class FirstRows:
    """Tells which rows of a table no earlier row equals, batch by batch.

    Of each row a hash of 64 bits is kept: of ten million rows, two that differ have the same one with a
    probability below 1 in 100,000.
    """

    def __init__(self) -> None:
        # Sorted parts, each longer than the one after it.
        self._seen: list[NDArray[np.uint64]] = []

    def __call__(self, rows: pa.RecordBatch) -> Bools:
        """Add rows; gives whether each is new, shape (n_rows,).

        Examples:
            >>> is_first = FirstRows()
            >>> is_first(pa.RecordBatch.from_pydict({"a": [0.0, None, -0.0], "b": ["x", None, "x"]}))
            array([ True,  True, False])
            >>> is_first(pa.RecordBatch.from_pydict({"a": [None, 1.0], "b": [None, "x"]}))
            array([False,  True])
        """
        hashes = _hash_rows(rows)
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        is_new = np.diff(hashes, prepend=~hashes[:1]) != 0
        for seen in self._seen:
            place = np.searchsorted(seen, hashes)
            is_new &= seen[np.minimum(place, len(seen) - 1)] != hashes
        added = hashes[is_new]
        while self._seen and len(self._seen[-1]) <= len(added):
            # Of sorted parts, which the stable sort only merges.
            added = np.sort(np.concatenate([self._seen.pop(), added]), kind="stable")
        if len(added):
            self._seen.append(added)
        in_order = np.empty(len(order), bool)
        in_order[order] = is_new
        return in_order


def _hash_rows(rows: pa.RecordBatch) -> NDArray[np.uint64]:
    columns = {}
    for name, values in zip(rows.schema.names, rows.columns, strict=True):
        if pa.types.is_string(values.type):
            # Each text is hashed once.
            columns[name] = values.dictionary_encode().to_pandas()
        elif pa.types.is_floating(values.type):
            # 0 and -0 are equal.
            columns[name] = values.to_numpy(zero_copy_only=False) + 0.0
        else:
            columns[name] = values.to_numpy(zero_copy_only=False)
    hashes: NDArray[np.uint64] = pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy()
    return hashes
