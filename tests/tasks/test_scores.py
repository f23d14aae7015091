import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn import metrics as sklearn_metrics

from canopy.tasks.calibration import apply_temperature, calibrate, fit_temperature, measure_reliability
from canopy.tasks.plots import draw_confusion, draw_reliability
from canopy.tasks.scores import Scores
from odd_names import ODD_NAMES
from schemas import class_task

NAMES = ("Apple", "Pear", "Plum/Damson")
CONFUSION_SCORES = ("accuracy", "balanced_accuracy", "macro_f1")

Predictions = tuple[NDArray[np.float64], NDArray[np.int64]]


def draw(*, sharpness: float, n_rows: int = 20_000) -> Predictions:
    """Probabilities whose logits are so many times too large, and classes drawn from the right ones."""
    generator = np.random.default_rng(0)
    logits = 2 * generator.standard_normal((n_rows, 3))
    right = softmax(logits, axis=1).cumsum(axis=1)
    labels = (generator.random((n_rows, 1)) > right).sum(axis=1)
    return softmax(sharpness * logits, axis=1), labels


@pytest.fixture
def predictions() -> Predictions:
    probabilities, labels = draw(sharpness=1.0, n_rows=500)
    # Some rows are certain, and not all of them right.
    probabilities[:50] = np.eye(3)[probabilities[:50].argmax(axis=1)]
    return probabilities, labels


@pytest.fixture
def scores(predictions: Predictions) -> Scores:
    """Scores of the predictions, which come batch by batch."""
    metrics = class_task(*NAMES).build_metrics()
    for batch in zip(*(torch.from_numpy(array).split(64) for array in predictions), strict=True):
        metrics.update(*batch)
    return Scores.from_metrics(metrics.compute(), NAMES)


def of_confusion(confusion: np.ndarray, names: tuple[str, ...] = (*NAMES, *"abcdefg")) -> Scores:
    return Scores(class_names=names[: len(confusion)], confusion=confusion, nll=0.0, ece=0.0)


def test_scores_equal_their_definitions(predictions: Predictions, scores: Scores) -> None:
    probabilities, labels = predictions
    top, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    report, right = scores.report(), predicted == labels
    given = np.maximum(probabilities[np.arange(500), labels], np.finfo(np.float32).tiny)
    bins = np.minimum((top * 15).astype(int), 14)
    gaps = [abs(right[bins == b].sum() - top[bins == b].sum()) for b in range(15)]
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(labels, predicted),
        "macro_f1": sklearn_metrics.f1_score(labels, predicted, average="macro"),
        "nll": -np.log(given).mean(),
        "ece": sum(gaps) / 500,
        "n_rows": 500,
    }
    assert {name: report[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert (report["accuracy"], report["macro_f1"]) == (expected["accuracy"], scores.macro_f1)
    columns = sklearn_metrics.precision_recall_fscore_support(labels, predicted)
    for name, *row in zip(NAMES, *columns, strict=True):
        found = report["per_class"][name]
        assert [*found] == ["precision", "recall", "f1", "support"]
        np.testing.assert_allclose([*found.values()], row)
    # A slash would be a folder in TensorBoard.
    assert scores.summary()["recall/Plum-Damson"] == report["per_class"]["Plum/Damson"]["recall"]


def test_intervals_are_those_of_a_bootstrap_over_rows(predictions: Predictions, scores: Scores) -> None:
    labels, predicted = predictions[1], predictions[0].argmax(axis=1)
    draws = []
    for rows in np.random.default_rng(1).integers(500, size=(1000, 500)):
        drawn = of_confusion(sklearn_metrics.confusion_matrix(labels[rows], predicted[rows])).summary()
        draws.append([drawn[name] for name in CONFUSION_SCORES])
    expected = np.quantile(draws, [0.025, 0.975], axis=0).T
    found = scores.intervals()
    assert tuple(found) == CONFUSION_SCORES
    # Those of a large sample with many errors.
    np.testing.assert_allclose([*found.values()], expected, atol=0.006)
    assert scores.intervals() == found, "the same each time"


@pytest.mark.parametrize(
    ("support", "n_rows", "error"),
    [
        pytest.param([30, 14, 25], 69, 0.01, id="every second sample perfect"),
        pytest.param([30, 14, 25], 20, 0.1, id="few rows"),
        pytest.param([7, 3], 100, 0.05, id="two classes"),
        pytest.param([1] * 10, 60, 0.05, id="many small classes"),
        pytest.param([300, 50, 6, 4], 360, 0.05, id="rare classes"),
    ],
)
def test_intervals_have_their_coverage(support: list[int], n_rows: int, error: float) -> None:
    """Plain percentiles cover 58, 88, 90, 87 and 62 % of the balanced accuracies."""
    k = len(support)
    shares = (np.eye(k) * (1 - error) + (1 - np.eye(k)) * error / (k - 1)) * np.array(support)[:, None]
    true = of_confusion(shares).summary()
    samples = np.random.default_rng(1).multinomial(n_rows, (shares / shares.sum()).ravel(), size=200)
    covered = dict.fromkeys([*CONFUSION_SCORES, *(["f1", "mcc"] if k == 2 else [])], 0)
    for sample in samples.reshape(200, k, k):
        for name, (low, high) in of_confusion(sample).intervals().items():
            covered[name] += low <= true[name] <= high
    assert min(covered.values()) >= 0.92 * 200, covered


def test_absent_classes_score_zero_and_are_left_out_of_means() -> None:
    report = of_confusion(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])).report()
    assert [scores["recall"] for scores in report["per_class"].values()] == [0.75, 1.0, 0.0]
    assert [scores["precision"] for scores in report["per_class"].values()] == [1.0, 0.8, 0.0]
    assert report["balanced_accuracy"] == 0.875
    assert report["macro_f1"] == pytest.approx((6 / 7 + 8 / 9) / 2)


def test_confusion_plot_shows_counts_and_shares_and_any_class_name(tmp_path: Path) -> None:
    counts = np.array([[15000, 5000, 0], [0, 40, 0], [1, 0, 9999]])
    (axes,) = draw_confusion(of_confusion(counts), title="t").axes
    assert [text.get_text() for text in axes.texts][:3] == ["15,000\n75.0%", "5,000\n25.0%", "0"]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == list(NAMES)
    odd = of_confusion(np.eye(len(ODD_NAMES), dtype=np.int64), tuple(ODD_NAMES))
    # In a font of ours or not: characters without a sign in it are no mistake.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        draw_confusion(odd, title="test").savefig(tmp_path / "plot.png", dpi=20)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_fitted_temperature_undoes_overconfidence_and_has_the_lowest_nll(sharpness: float) -> None:
    probabilities, labels = draw(sharpness=sharpness)
    best = fit_temperature(probabilities, labels)
    assert best == pytest.approx(sharpness, rel=0.03)
    temperatures = best * np.array([0.9, 0.99, 1.0, 1.01, 1.1])
    nll = [measure_reliability(apply_temperature(probabilities, t), labels).nll for t in temperatures]
    assert np.argmin(nll) == 2


def test_correct_and_certainly_wrong_rows_have_a_temperature() -> None:
    probabilities, labels = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]]), np.array([0, 1, 0])
    few, many = (fit_temperature(np.tile(probabilities, (n, 1)), np.tile(labels, n)) for n in (1, 100))
    # Without a bound each lower temperature would be better.
    assert 0.05 < many < 0.5 < few < 1
    probabilities, labels = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1])
    found = [fit_temperature(np.tile(probabilities, (n, 1)), np.tile(labels, n)) for n in (1, 500)]
    assert 10 < min(found) <= max(found) < 20
    assert np.isfinite(measure_reliability(apply_temperature(probabilities, 1.0), labels).nll)


def test_reliability_equals_the_metrics_of_training_and_is_drawn() -> None:
    probabilities, labels = draw(sharpness=2.0)
    calibration = calibrate(probabilities, labels, temperature=fit_temperature(probabilities, labels))
    found, scores = calibration.before, class_task("a", "b", "c").score(probabilities, labels)
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
