import numpy as np
import pandas as pd
import pytest

from canopy.explore.correlation import (
    correlation_matrix,
    correlation_ratio,
    cramers_v,
    describe_correlation,
    variance_explained,
)


@pytest.mark.parametrize("missing_share", [0, 0.3])
def test_correlation_is_pearsons_on_the_rows_of_a_pair(missing_share: float):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(60, 4)) @ (np.eye(4) + np.diag([0.8, 0.5, 0], 1)) + 100
    values[generator.random(values.shape) < missing_share] = np.nan
    values[:, 3] = 5
    expected = pd.DataFrame(values).corr().fillna(0)
    np.testing.assert_allclose(correlation_matrix(values.T)[:3], expected[:3], atol=1e-12)
    assert correlation_matrix(values.T)[3].tolist() == [0, 0, 0, 1]
    found = describe_correlation(
        dict(zip("abcd", values.T, strict=True)), high_correlation=1, shown=["c", "a"]
    )
    assert [*found["matrix"]] == [*found["matrix"]["a"]] == ["c", "a"]
    assert max(found["variance_explained_by_others"].values()) < 0.9


def test_variance_explained_finds_sums_of_columns():
    a, b, c = np.random.default_rng(0).normal(size=(3, 500))
    matrix = correlation_matrix([a, b, a + b, c])
    assert np.abs(matrix - np.eye(4)).max() < 0.8
    explained = variance_explained(matrix)
    np.testing.assert_allclose(explained[:3], 1, atol=1e-6)
    assert explained[3] < 0.05


def test_variance_explained_is_that_of_the_regression():
    values = np.random.default_rng(0).normal(size=(200, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.7], [0, 0, 1]])
    others = np.column_stack([values[:, 1:], np.ones(200)])
    _, residual, *_ = np.linalg.lstsq(others, values[:, 0])
    expected = 1 - residual[0] / ((values[:, 0] - values[:, 0].mean()) ** 2).sum()
    assert variance_explained(correlation_matrix(values.T))[0] == pytest.approx(expected, abs=1e-6)


def test_high_pairs_are_listed_strongest_first():
    x = np.arange(8.0)
    noise = np.array([1.0, -1, -1, 1, 1, -1, -1, 1])
    columns = {"x": x, "minus": -x, "near": x + 1.5 * noise}
    found = describe_correlation(columns, high_correlation=0.8, shown=[*columns])
    assert [pair["columns"] for pair in found["high_pairs"]] == [
        ["x", "minus"],
        ["x", "near"],
        ["minus", "near"],
    ]
    assert found["high_pairs"][0]["pearson"] == -1
    assert found["matrix"]["x"]["near"] == -found["matrix"]["minus"]["near"]


def test_correlation_ratio_is_the_share_of_variance_between_categories():
    codes = np.array([0, 0, 2, 2, 2])
    assert correlation_ratio(np.array([0.0, 2.0, 4.0, 6.0, np.nan]), codes) == pytest.approx(0.8)
    assert correlation_ratio(np.full(5, 5.0), codes) == 0


def test_cramers_v_is_0_for_independent_and_constant_columns():
    assert cramers_v(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])) == 0
    assert cramers_v(np.array([0, 0, 1, 1]), np.array([2, 2, 2, 2])) == 0
