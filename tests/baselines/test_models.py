"""Baselines: each predicts all classes, whatever the training rows have."""

import numpy as np
import pytest

from canopy.baselines.models import BASELINES, Fitted, Rows, as_rows

SETTINGS = {
    "random_forest": {"n_estimators": 20},
    "xgboost": {"n_estimators": 30, "early_stopping_rounds": 5},
    "lightgbm": {"n_estimators": 30, "early_stopping_round": 5},
    "catboost": {"iterations": 30, "early_stopping_rounds": 5},
}


def make(n_rows: int, seed: int, *, classes: tuple[int, ...], n_categories: int = 4) -> Rows:
    """Rows whose class shows in a number and in a category."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, n_rows)
    numeric = np.stack([labels + random.normal(0, 0.3, n_rows), random.normal(size=n_rows)], axis=1)
    codes = np.stack([(labels + random.integers(0, 2, n_rows)) % n_categories], axis=1)
    return as_rows(numeric.astype(np.float32), codes, labels, cardinalities=(n_categories,))


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_learns_and_gives_every_class_a_probability(name: str) -> None:
    # Class 1 has no training row, and class 3 none but in validation.
    train, val, test = (
        make(300, 0, classes=(0, 2)),
        make(80, 1, classes=(0, 2, 3)),
        make(80, 2, classes=(0, 2)),
    )
    model = Fitted(BASELINES[name], train, val, n_classes=4, seed=0, settings=SETTINGS.get(name, {}))
    probabilities = model.predict(test.features)
    assert probabilities.shape == (80, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert not probabilities[:, [1, 3]].any()
    accuracy = (probabilities.argmax(axis=1) == test.labels).mean()
    assert accuracy > 0.9 or name == "constant"


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_takes_many_and_unseen_categories(name: str) -> None:
    train, val = (make(900, seed, classes=(0, 1), n_categories=2) for seed in (0, 1))
    many = [
        as_rows(
            np.zeros((900, 1), np.float32),
            np.random.default_rng(seed).integers(0, 701, (900, 1)),
            rows.labels,
            cardinalities=(700,),
        )
        for seed, rows in enumerate((train, val))
    ]
    model = Fitted(BASELINES[name], *many, n_classes=2, seed=0, settings=SETTINGS.get(name, {}))
    assert np.isfinite(model.predict(many[1].features)).all()


@pytest.mark.parametrize("name", BASELINES)
def test_same_seed_gives_same_predictions(name: str) -> None:
    train, val = make(200, 0, classes=(0, 1)), make(80, 1, classes=(0, 1))
    first, second = (
        Fitted(BASELINES[name], train, val, n_classes=2, seed=3, settings=SETTINGS.get(name, {}))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.predict(val.features), second.predict(val.features))
