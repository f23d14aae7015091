import numpy as np
import pyarrow as pa
import pytest

from canopy.tables.duplicates import FirstRows, RowCounter


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_repeated_rows_are_found_in_any_batches(size: int) -> None:
    random = np.random.default_rng(0)
    drawn = {
        "number": random.choice([0.5, 1, 2, np.nan], 1000),
        "text": random.choice(["a", "b", "", None], 1000),
        "time": random.choice(np.array(["2024-01-01", "NaT", "1969-12-31"], "datetime64[us]"), 1000),
        "many": random.integers(0, 10, 1000).astype(float),
    }
    rows = pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in drawn.items()})
    is_first = FirstRows()
    found = np.concatenate([is_first(rows.slice(start, size)) for start in range(0, 1000, size)])
    seen: set[str] = set()
    expected = []
    for row in map(repr, rows.to_pylist()):
        expected.append(row not in seen)
        seen.add(row)
    assert found.tolist() == expected
    assert 100 < sum(expected) < 900


def test_columns_are_not_mixed_up() -> None:
    rows = pa.RecordBatch.from_pydict({"a": [0.0, 1.0, 0.0, 1.0], "b": [1.0, 0.0, 0.0, 1.0]})
    assert FirstRows()(rows).all()
    texts = pa.RecordBatch.from_pydict({"a": ["x", None, "x"], "b": [None, "x", "x"]})
    assert FirstRows()(texts).all()


def test_repeated_rows_are_counted_over_batches() -> None:
    rows = pa.RecordBatch.from_pydict({"a": np.arange(1000) % 300, "b": ["x", None] * 500})
    with RowCounter() as counter:
        for start in range(0, 1000, 70):
            counter.update(rows.slice(start, 70))
        assert counter.n_repeated() == 700
