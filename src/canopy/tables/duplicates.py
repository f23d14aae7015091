"""Find rows that repeat an earlier one."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canopy.tables.convert import Bools


class FirstRows:
    """Finds which rows of a table no earlier row equals, batch by batch.

    Examples:
        >>> FirstRows()(pa.RecordBatch.from_pydict({"a": [0.0, None, -0.0], "b": ["x", None, "x"]}))
        array([ True,  True, False])
    """

    def __init__(self) -> None:
        # Hashes, ascending, and an end that is greater than all. Of ten million different rows, two have the
        # same one with a probability of 1 in 400,000.
        self._seen = np.array([np.iinfo(np.uint64).max], np.uint64)

    def __call__(self, rows: pa.RecordBatch) -> Bools:
        # Here, since only tables whose repeated rows are dropped need it.
        import pandas as pd

        # 0 and -0 are equal.
        columns = [pc.add(values, 0.0) if pa.types.is_floating(values.type) else values for values in rows]
        frame = pa.table(columns, rows.schema.names).to_pandas()
        hashes, first = np.unique(pd.util.hash_pandas_object(frame, index=False), return_index=True)
        places = np.searchsorted(self._seen, hashes)
        is_new = self._seen[places] != hashes
        self._seen = np.insert(self._seen, places[is_new], hashes[is_new])
        found = np.zeros(rows.num_rows, bool)
        found[first[is_new]] = True
        return found
