import numpy as np
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
def test_information_of_a_discrete_feature_is_exact(counts: list[list[int]], expected: float):
    assert discrete_information(np.array(counts)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_rows", [200, 3000])
@pytest.mark.parametrize("spread", [0.05, 1, 30])
def test_information_of_a_numeric_feature_equals_that_of_scikit_learn(n_rows: int, spread: float):
    generator = np.random.default_rng(0)
    codes = generator.integers(5, size=n_rows)
    codes[0] = 7
    values = codes + generator.normal(0, spread, n_rows)
    expected = mutual_info_classif(values[:, None], codes, discrete_features=False, random_state=1)[0]
    assert numeric_information(values, codes, seed=1) == pytest.approx(expected, abs=1e-9)


def test_information_of_whole_numbers_equals_that_of_scikit_learn_but_for_ties():
    generator = np.random.default_rng(0)
    codes = generator.integers(3, size=2000)
    values = np.rint(2 * codes + generator.normal(0, 3, 2000))
    expected = mutual_info_classif(values[:, None], codes, discrete_features=False, random_state=1)[0]
    assert numeric_information(values, codes, seed=1) == pytest.approx(expected, abs=2e-3)


def test_a_missing_value_informs_too():
    codes = np.arange(1000) % 2
    values = np.where(codes == 0, np.nan, 5.0)
    assert numeric_information(values, codes, seed=0) == pytest.approx(np.log(2))
    assert numeric_information(np.full(1000, np.nan), codes, seed=0) == 0


def test_a_constant_column_has_no_information():
    assert numeric_information(np.full(20, 3.0), np.arange(20) % 2, seed=0) == 0


def test_unique_values_have_no_information():
    generator = np.random.default_rng(0)
    codes = generator.integers(2, size=1000)
    assert sparse_information(np.arange(1000, dtype=np.uint64), codes, seed=0) == 0
    names = (codes * 200 + generator.integers(200, size=1000)).astype(np.uint64)
    assert sparse_information(names, codes, seed=0) > 0.4


def test_groups_are_about_equally_large_and_missing_values_one_of_them():
    values = np.append(np.arange(100.0), np.nan)
    assert np.bincount(equal_groups(values)).tolist() == [10] * 10 + [1]
    assert equal_groups(np.full(3, np.nan)).tolist() == [10] * 3
