import numpy as np
import pytest

from canopy.explore.information import discrete_information, numeric_information


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([[10, 20], [30, 60]], 0),
        ([[10, 0], [0, 30]], -0.25 * np.log(0.25) - 0.75 * np.log(0.75)),
        ([[5, 5], [0, 0]], 0),
    ],
)
def test_information_of_a_discrete_feature_is_exact(counts: list[list[int]], expected: float):
    assert discrete_information(np.array(counts)) == pytest.approx(expected, abs=1e-12)


def test_information_of_a_numeric_feature_is_estimated_on_seeded_rows():
    generator = np.random.default_rng(0)
    codes = generator.integers(2, size=3000)
    values = np.stack([codes + generator.normal(0, 0.05, 3000), generator.normal(size=3000)], axis=1)
    first, second = (numeric_information(values, codes, n_rows=1000, seed=1) for _ in range(2))
    assert first.tolist() == second.tolist()
    assert first[0] == pytest.approx(np.log(2), abs=0.02)
    assert first[1] < 0.05


def test_a_constant_column_tells_nothing():
    values = np.full((20, 1), 3.0)
    assert numeric_information(values, np.arange(20) % 2, n_rows=20, seed=0).tolist() == [0]


def test_no_rows_to_draw_is_refused():
    with pytest.raises(ValueError, match="n_mutual_information_rows must be at least 1; found 0"):
        numeric_information(np.zeros((2, 1)), np.zeros(2, dtype=np.int64), n_rows=0, seed=0)
