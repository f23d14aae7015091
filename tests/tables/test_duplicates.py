import numpy as np
import pyarrow as pa
import pytest

from canopy.tables.duplicates import FirstRows


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_repeated_rows_are_found_in_any_batches(size: int) -> None:
    random = np.random.default_rng(0)
    drawn = {
        "number": random.choice([0.5, 1, 2, np.nan], 1000),
        "same": random.choice([0.5, 1, 2, np.nan], 1000),
        "text": random.choice(["a", "b", "", None], 1000),
        "time": random.choice(np.array(["2024-01-01", "NaT", "1969-12-31"], "datetime64[us]"), 1000),
    }
    rows = pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in drawn.items()})
    is_first = FirstRows()
    found = np.concatenate([is_first(rows.slice(start, size)) for start in range(0, 1000, size)])
    different = [*map(repr, rows.to_pylist())]
    assert found.tolist() == [row not in different[:index] for index, row in enumerate(different)]
    assert 100 < found.sum() < 900
