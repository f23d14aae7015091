"""Information of the features on the class, and their correlation."""

import numpy as np
import pandas as pd
import pytest

from canopy.explore import information
from canopy.explore.profile import crosstab


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.where(np.arange(1000) % 2 == 0, np.nan, 5.0), np.log(2)),
        (np.where(np.arange(1000) < 500, np.nan, np.arange(1000) % 2 + np.arange(1000) / 1e6), np.log(2) / 2),
        (np.full(1000, np.nan), 0),
        (np.full(1000, 3.0), 0),
    ],
    ids=["half missing", "half missing, others tell", "all missing", "constant"],
)
def test_numeric_information_includes_missing_values(values: np.ndarray, expected: float):
    found = information.numeric_information(values, np.arange(1000) % 2, seed=0)
    assert found == pytest.approx(expected, abs=0.01)


def test_information_leaves_out_chance():
    generator = np.random.default_rng(0)
    codes = generator.integers(2, size=5000)
    assert information.beyond_chance(crosstab(generator.integers(500, size=5000), codes)) < 0.01
    assert information.beyond_chance(crosstab(codes * 200 + generator.integers(200, size=5000), codes)) > 0.6


def test_equal_groups_have_one_for_missing_values():
    values = np.append(np.arange(100.0), np.nan)
    assert np.bincount(information.equal_groups(values)).tolist() == [10] * 10 + [1]
    assert information.equal_groups(np.full(3, np.nan)).tolist() == [10] * 3


@pytest.mark.parametrize("missing_share", [0, 0.3])
def test_correlation_is_pearsons_on_the_rows_of_a_pair(missing_share: float):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(60, 4)) @ (np.eye(4) + np.diag([0.8, 0.5, 0], 1)) + 100
    values[generator.random(values.shape) < missing_share] = np.nan
    values[:, 3] = 5
    columns = dict(zip("abcd", values.T, strict=True))
    found = information.describe_correlation(columns, high=0.4, shown=["c", "a", "d"])
    assert [*found["matrix"]] == [*found["matrix"]["a"]] == ["c", "a", "d"]
    both = ~np.isnan(values[:, [0, 2]]).any(axis=1)
    expected = np.corrcoef(values[both, 0], values[both, 2])[0, 1]
    assert found["matrix"]["a"]["c"] == pytest.approx(expected, abs=1e-12)
    assert found["matrix"]["a"]["d"] == 0
    assert max(found["variance_explained_by_others"].values()) < 0.9
    assert [pair["columns"] for pair in found["high_pairs"]] == [["a", "b"], ["b", "c"]]


def test_variance_explained_is_that_of_the_regression():
    a, b, c = np.random.default_rng(0).normal(size=(3, 500))
    explained = information.variance_explained(pd.DataFrame({"a": a, "b": b, "sum": a + b, "c": c}))
    np.testing.assert_allclose(explained[:3], 1, atol=1e-6)
    others = np.column_stack([a, b, np.ones(500)])
    _, residual, *_ = np.linalg.lstsq(others, c)
    assert explained[3] == pytest.approx(1 - residual[0] / ((c - c.mean()) ** 2).sum(), abs=1e-6)
