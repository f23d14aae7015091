"""Count values over batches, in bounded memory."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

N_PARTS = 4


@dataclass
class ValueCounts:
    """How many rows have each value of a column, by class.

    Args:
        limit: About so many values are kept. Where there are more, the rarest are dropped, as Manku and
            Motwani (2002) do: counts of frequent values stay exact, or nearly so.

    Attributes:
        is_complete: Whether no value was dropped.
    """

    limit: int
    is_complete: bool = True
    _parts: list[pa.Table] = field(default_factory=list)

    def update(self, values: pa.Array, codes: NDArray[np.int64] | None = None) -> None:
        """Add rows: their values and, if counted by class, their class codes."""
        encoded = values.dictionary_encode(null_encoding="encode")
        codes = np.zeros(len(values), np.int64) if codes is None else codes
        n_codes = int(codes.max(initial=0)) + 1
        cells = pc.value_counts(pa.array(encoded.indices.to_numpy() * np.int64(n_codes) + codes))
        index, code = np.divmod(cells.field("values").to_numpy(), n_codes)
        columns = {
            "value": encoded.dictionary.take(pa.array(index)),
            "code": code,
            "n": cells.field("counts"),
        }
        self._parts.append(pa.table(columns))
        # Few parts at a time: they lie between larger arrays that are freed, and keep their memory in use.
        if len(self._parts) > N_PARTS or sum(map(len, self._parts)) > 2 * self.limit:
            self._merge()

    def _merge(self) -> pa.Table:
        if len(self._parts) > 1:
            merged = _add_up(pa.concat_tables(self._parts), ["value", "code"])
            if len(merged) > 2 * self.limit:
                totals = _add_up(merged, ["value"])
                n_kept = max(1, self.limit * len(totals) // len(merged))
                kept = totals["value"].take(pc.select_k_unstable(totals, n_kept, [("n", "descending")]))
                merged = merged.filter(pc.is_in(merged["value"], kept.combine_chunks()))
                self.is_complete = False
            self._parts = [merged]
        return self._parts[0]

    def totals(self) -> pa.Table:
        """Give the values and the rows of each (`n`), the most frequent first; null is a missing value."""
        order = [("n", "descending"), ("value", "ascending")]
        return _add_up(self._merge(), ["value"]).sort_by(order)

    def by_class(self, n_classes: int) -> tuple[list[Any], NDArray[np.int64]]:
        """Give the values in that order, None for a missing one, and counts, shape (n_values, n_classes)."""
        merged, values = self._merge(), self.totals()["value"].combine_chunks()
        counts = np.zeros((len(values), n_classes), np.int64)
        index = pc.index_in(merged["value"], values).to_numpy()
        counts[index, merged["code"].to_numpy()] = merged["n"].to_numpy()
        return values.to_pylist(), counts


def _add_up(table: pa.Table, keys: list[str]) -> pa.Table:
    # With threads the order of the groups would be another one every time.
    return table.group_by(keys, use_threads=False).aggregate([("n", "sum")]).rename_columns([*keys, "n"])
