import numpy as np
import pyarrow as pa

from canopy.explore.counting import ValueCounts


def test_values_are_counted_by_class_over_batches_the_most_frequent_first():
    counts = ValueCounts(limit=100)
    counts.update(pa.array(["a", "b", None]), np.array([0, 1, 1]))
    counts.update(pa.array(["b", "b", "c"]), np.array([2, 1, 0]))
    values, table = counts.by_class(3)
    assert values == ["b", "a", "c", None]
    assert table.tolist() == [[0, 2, 1], [1, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert counts.totals()["n"].to_pylist() == [3, 1, 1, 1]
    assert counts.is_complete


def test_of_too_many_values_the_frequent_ones_keep_their_counts():
    counts = ValueCounts(limit=50)
    for batch in range(20):
        rare = np.arange(100.0) + 100 * batch
        counts.update(pa.array(np.concatenate([rare, [-1.0] * 30, [-2.0] * 20])))
        assert sum(map(len, counts._parts)) <= 300
    assert counts.totals().slice(0, 2).to_pylist() == [{"value": -1.0, "n": 600}, {"value": -2.0, "n": 400}]
    assert not counts.is_complete
