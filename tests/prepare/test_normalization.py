from pathlib import Path

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, RobustScaler, StandardScaler

from canopy.prepare.normalization import (
    METHODS,
    Method,
    fit_scaling,
    load_normalization,
    save_normalization,
)
from canopy.prepare.normalize import choose_methods


@pytest.mark.parametrize(
    ("method", "reference"),
    [("z_score", StandardScaler()), ("min_max", MinMaxScaler()), ("robust", RobustScaler())],
)
def test_affine_methods_equal_scikit_learn(method: Method, reference: StandardScaler) -> None:
    values = np.random.default_rng(0).gamma(2, size=500)
    expected = reference.fit_transform(values[:, None])[:, 0]
    found = fit_scaling(values, method, column="a").apply(values)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_quantile_normal_equals_scikit_learn() -> None:
    values = np.random.default_rng(0).gamma(2, size=5000)
    reference = QuantileTransformer(n_quantiles=1000, output_distribution="normal", subsample=None)
    expected = reference.fit_transform(values[:, None])[:, 0]
    found = fit_scaling(values, "quantile_normal", column="a").apply(values)
    # scikit-learn interpolates the uniform values, we the normal ones: they differ between quantiles.
    inner = np.abs(expected) < 2.5
    np.testing.assert_allclose(found[inner], expected[inner], atol=0.01)
    np.testing.assert_allclose([found.min(), found.max()], [expected.min(), expected.max()], atol=1e-6)


def test_quantile_normal_puts_a_repeated_value_in_the_middle() -> None:
    values = np.array([0.0] * 500 + list(range(1, 501)))
    scaled = fit_scaling(values, "quantile_normal", column="a").apply(values)
    assert scaled[0] == pytest.approx(-0.6745, abs=0.01)  # the normal's first quartile
    assert (np.diff(scaled[499:]) > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_what_is_saved_scales_the_same(tmp_path: Path, method: Method) -> None:
    values = np.random.default_rng(0).normal(3, 2, size=100)
    scaling = fit_scaling(values, method, column="a")
    save_normalization(tmp_path / "normalization.json", {"a": scaling})
    loaded = load_normalization(tmp_path / "normalization.json")
    assert loaded == {"a": scaling}
    np.testing.assert_array_equal(loaded["a"].apply(values), scaling.apply(values))


@pytest.mark.parametrize("method", ["z_score", "min_max", "quantile_normal"])
def test_missing_values_become_the_median(tmp_path: Path, method: Method) -> None:
    values = np.random.default_rng(0).normal(3, 2, size=101)
    values[::7] = np.nan
    scaling = fit_scaling(values, method, column="a", fill_missing_values=True)
    filled = SimpleImputer(strategy="median").fit_transform(values[:, None])[:, 0]
    np.testing.assert_array_equal(
        scaling.apply(values), fit_scaling(filled, method, column="a").apply(filled)
    )
    save_normalization(tmp_path / "normalization.json", {"a": scaling})
    assert load_normalization(tmp_path / "normalization.json") == {"a": scaling}


def test_a_column_without_a_value_has_no_median() -> None:
    with pytest.raises(ValueError, match="must have values to take the median of; found none in 'a'"):
        fit_scaling(np.full(5, np.nan), "z_score", column="a", fill_missing_values=True)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "normalization.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match='must have the format 1; found 99; run "make repro"'):
        load_normalization(tmp_path / "normalization.json")


@pytest.mark.parametrize("method", [method for method in METHODS if method != "none"])
def test_a_constant_column_is_refused(method: Method) -> None:
    with pytest.raises(ValueError, match="'a' constant at 3 on the training rows: add it to drop_columns"):
        fit_scaling(np.full(10, 3.0), method, column="a")


def test_robust_needs_a_spread_between_the_quartiles() -> None:
    with pytest.raises(ValueError, match="none between the quartiles of 'a': choose z_score"):
        fit_scaling(np.array([0.0] * 90 + [1.0] * 10), "robust", column="a")


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one of \['z_score', .*\]; found 'zscore'"):
        fit_scaling(np.arange(3.0), "zscore", column="a")  # type: ignore[arg-type]


def test_the_first_pattern_that_matches_decides() -> None:
    entries = [{"columns": ["b*"], "method": "robust"}, {"columns": ["*"], "method": "z_score"}]
    assert choose_methods(["a", "b1", "b2"], entries) == {"a": "z_score", "b1": "robust", "b2": "robust"}


def test_each_column_needs_a_method() -> None:
    with pytest.raises(ValueError, match="match each numeric column; found none for 'b'"):
        choose_methods(["a", "b"], [{"columns": ["a"], "method": "z_score"}])
