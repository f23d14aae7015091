import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_selection import mutual_info_classif

from canopy.explore.information import (
    discrete_information,
    equal_groups,
    numeric_information,
    sparse_information,
)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([[10, 20], [30, 60]], 0),
        ([[10, 0], [0, 30]], -0.25 * np.log(0.25) - 0.75 * np.log(0.75)),
        ([[5, 5], [0, 0]], 0),
    ],
)
def test_discrete_information_is_exact(counts: list[list[int]], expected: float):
    assert discrete_information(np.array(counts)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_rows", [200, 3000])
@pytest.mark.parametrize(("spread", "is_rounded"), [(0.05, False), (1, False), (30, False), (3, True)])
def test_numeric_information_equals_that_of_scikit_learn(n_rows: int, spread: float, is_rounded: bool):
    generator = np.random.default_rng(0)
    codes = generator.integers(5, size=n_rows)
    codes[0] = 7
    values = codes + generator.normal(0, spread, n_rows)
    values = np.rint(values) if is_rounded else values
    expected = mutual_info_classif(values[:, None], codes, discrete_features=False, random_state=1)[0]
    # Ties are broken in another order.
    bound = 2e-3 if is_rounded and n_rows > 1000 else 2e-2 if is_rounded else 1e-9
    assert numeric_information(values, codes, seed=1) == pytest.approx(expected, abs=bound)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.where(np.arange(1000) % 2 == 0, np.nan, 5.0), np.log(2)),
        (np.full(1000, np.nan), 0),
        (np.full(1000, 3.0), 0),
    ],
    ids=["half missing", "all missing", "constant"],
)
def test_numeric_information_includes_missing_values(values: np.ndarray, expected: float):
    assert numeric_information(values, np.arange(1000) % 2, seed=0) == pytest.approx(expected)


def test_sparse_information_leaves_out_chance():
    generator = np.random.default_rng(0)
    codes = generator.integers(2, size=1000)
    assert sparse_information(pa.array(map(str, range(1000))), codes, seed=0) == 0
    names = pa.array(map(str, codes * 200 + generator.integers(200, size=1000)))
    assert sparse_information(names, codes, seed=0) > 0.4


def test_equal_groups_have_one_for_missing_values():
    values = np.append(np.arange(100.0), np.nan)
    assert np.bincount(equal_groups(values)).tolist() == [10] * 10 + [1]
    assert equal_groups(np.full(3, np.nan)).tolist() == [10] * 3
