import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from canopy.tasks.calibration import apply_temperature, calibrate, fit_temperature, measure_reliability
from canopy.tasks.plots import draw_reliability
from canopy.tasks.scores import score

Predictions = tuple[NDArray[np.float64], NDArray[np.int64]]


def predictions(*, sharpness: float, n_rows: int = 20_000) -> Predictions:
    """Probabilities whose logits are so many times too large, and classes drawn from the right ones."""
    generator = np.random.default_rng(0)
    logits = 2 * generator.standard_normal((n_rows, 3))
    right = softmax(logits, axis=1).cumsum(axis=1)
    labels = (generator.random((n_rows, 1)) > right).sum(axis=1)
    return softmax(sharpness * logits, axis=1), labels


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_fitted_temperature_undoes_overconfidence_and_has_the_lowest_nll(sharpness: float) -> None:
    probabilities, labels = predictions(sharpness=sharpness)
    best = fit_temperature(probabilities, labels)
    assert best == pytest.approx(sharpness, rel=0.03)
    nll = {
        factor: measure_reliability(apply_temperature(probabilities, factor * best), labels).nll
        for factor in (0.9, 0.99, 1.0, 1.01, 1.1)
    }
    assert min(nll, key=nll.__getitem__) == 1.0


def test_few_correct_rows_move_the_temperature_little() -> None:
    probabilities, labels = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]]), np.array([0, 1, 0])
    few, many = (fit_temperature(np.tile(probabilities, (n, 1)), np.tile(labels, n)) for n in (1, 100))
    # Without a bound each lower temperature would be better.
    assert 0.05 < many < 0.5 < few < 1


def test_reliability_equals_the_metrics_of_training_and_is_drawn() -> None:
    probabilities, labels = predictions(sharpness=2.0)
    calibration = calibrate(probabilities, labels, temperature=fit_temperature(probabilities, labels))
    found, scores = calibration.before, score(probabilities, labels, ("a", "b", "c"))
    assert found.ece == pytest.approx(scores.ece, abs=1e-5)
    assert found.nll == pytest.approx(scores.nll, abs=1e-6)
    assert found.counts.sum() == len(labels)
    # With three classes no row is less sure than a third.
    assert found.counts[:4].tolist() == [0, 0, 0, 0]
    assert np.isnan(found.accuracy[0])
    assert calibration.after.ece < 0.01 < 0.1 < found.ece
    after = apply_temperature(probabilities, calibration.temperature)
    np.testing.assert_array_equal(after.argmax(axis=1), probabilities.argmax(axis=1))
    _, before, after = draw_reliability(calibration, title="test").axes[0].get_legend().get_texts()
    assert f"ECE {found.ece:.4f}, NLL {found.nll:.4f}" in before.get_text()
    assert after.get_text().startswith(f"with temperature {calibration.temperature:.3f}: ")


def test_nll_of_a_certain_error_is_finite() -> None:
    probabilities, labels = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1])
    assert np.isfinite(measure_reliability(apply_temperature(probabilities, 1.0), labels).nll)
    assert 1 < fit_temperature(probabilities, labels) < 20
    assert fit_temperature(np.repeat(probabilities, 500, axis=0), np.repeat(labels, 500)) > 10
