"""Baselines: each predicts all classes, whatever the training rows have."""

import numpy as np
import pytest

from canopy.baselines.baselines import BASELINES, Fitted, Rows, as_rows

SETTINGS = {
    "random_forest": {"n_estimators": 20},
    "xgboost": {"n_estimators": 30, "early_stopping_rounds": 5},
    "lightgbm": {"n_estimators": 30, "early_stopping_round": 5},
    "catboost": {"iterations": 30, "early_stopping_rounds": 5},
}


def make(n_rows: int, seed: int, *, classes: tuple[int, ...]) -> Rows:
    """Rows whose class shows in a number and in a category of many; training lacks some categories."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, n_rows)
    numeric = np.stack([labels + random.normal(0, 0.3, n_rows), random.normal(size=n_rows)], axis=1)
    codes = np.stack([(labels + random.integers(0, 2, n_rows)) % 4, random.integers(0, 701, n_rows)], axis=1)
    return as_rows(numeric.astype(np.float32), codes, labels, cardinalities=(4, 700))


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_learns_and_gives_every_class_a_probability(name: str) -> None:
    # Class 1 has no training row, and class 3 none but in validation.
    train, val = make(300, 0, classes=(0, 2)), make(80, 1, classes=(0, 2, 3))
    features, labels = make(80, 2, classes=(0, 2))
    options = {"n_classes": 4, "seed": 3, "settings": SETTINGS.get(name, {})}
    first, second = (Fitted(BASELINES[name], train, val, **options).predict(features) for _ in range(2))
    assert first.shape == (80, 4)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-6)
    assert not first[:, [1, 3]].any()
    assert (first.argmax(axis=1) == labels).mean() > 0.9 or name == "constant"
    np.testing.assert_array_equal(first, second, err_msg="the same seed gives the same predictions")
