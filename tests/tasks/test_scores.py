import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from canopy.tasks.confusion_plot import draw_confusion
from canopy.tasks.metrics import build_metrics
from canopy.tasks.scores import Scores
from odd_names import ODD_NAMES

NAMES = ("Apple", "Pear", "Plum/Damson")


@pytest.fixture
def predictions() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (500,), generator=generator)
    logits = 2 * torch.randn(500, 3, generator=generator)
    logits[torch.arange(500), labels] += 1
    return logits.softmax(dim=1), labels


@pytest.fixture
def scores(predictions: tuple[torch.Tensor, torch.Tensor]) -> Scores:
    metrics = build_metrics(3)
    for batch in zip(*(tensor.split(64) for tensor in predictions), strict=True):
        metrics.update(*batch)
    return Scores.from_metrics(metrics.compute(), NAMES)


def test_scores_equal_scikit_learn(predictions: tuple[torch.Tensor, torch.Tensor], scores: Scores) -> None:
    probabilities, labels = (tensor.numpy() for tensor in predictions)
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(labels, predicted)
    assert scores.accuracy == sklearn_metrics.accuracy_score(labels, predicted)
    balanced = sklearn_metrics.balanced_accuracy_score(labels, predicted)
    assert scores.balanced_accuracy == pytest.approx(balanced, abs=1e-15)
    assert scores.macro_f1 == pytest.approx(f1.mean(), abs=1e-15)
    assert scores.nll == pytest.approx(sklearn_metrics.log_loss(labels, probabilities), abs=1e-6)
    np.testing.assert_allclose(scores.precision, precision)
    np.testing.assert_allclose(scores.recall, recall)
    np.testing.assert_allclose(scores.f1, f1)
    np.testing.assert_array_equal(scores.support, support)


def test_calibration_error_equals_its_definition(
    predictions: tuple[torch.Tensor, torch.Tensor], scores: Scores
) -> None:
    probabilities, labels = (tensor.numpy() for tensor in predictions)
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((top * 15).astype(int), 14)
    gaps = [abs(right[bins == b].sum() - top[bins == b].sum()) for b in range(15)]
    assert scores.ece == pytest.approx(sum(gaps) / len(labels), abs=1e-6)


def test_ece_puts_probabilities_of_one_in_the_last_bin() -> None:
    """Half of the rows are certain and right eight times in ten, half nearly so and always right."""
    metrics = build_metrics(2)
    top = torch.tensor([1.0] * 10 + [0.95] * 10, dtype=torch.float64)
    labels = torch.tensor([1] * 2 + [0] * 18)
    metrics.update(torch.stack([top, 1 - top], dim=1), labels)
    # 18 of 20 are right, and the mean probability is 0.975.
    assert float(metrics.compute()["ece"]) == pytest.approx(0.975 - 0.9, abs=1e-6)


def test_intervals_are_those_of_a_bootstrap_over_rows(
    predictions: tuple[torch.Tensor, torch.Tensor], scores: Scores
) -> None:
    labels, predicted = predictions[1].numpy(), predictions[0].argmax(dim=1).numpy()
    generator = np.random.default_rng(1)
    draws = []
    for _ in range(1000):
        rows = generator.integers(len(labels), size=len(labels))
        confusion = sklearn_metrics.confusion_matrix(labels[rows], predicted[rows])
        drawn = Scores(class_names=NAMES, confusion=confusion, nll=0.0, ece=0.0)
        draws.append((drawn.accuracy, drawn.balanced_accuracy, drawn.macro_f1))
    expected = np.quantile(draws, [0.025, 0.975], axis=0).T
    found = scores.intervals()
    assert list(found) == ["accuracy", "balanced_accuracy", "macro_f1"]
    # Those of a large sample with many errors.
    np.testing.assert_allclose([*found.values()], expected, atol=0.006)
    assert scores.intervals() == found, "the same each time"


def test_intervals_of_perfect_scores_have_a_width() -> None:
    scores = Scores(class_names=NAMES, confusion=np.diag([30, 14, 25]), nll=0.0, ece=0.0)
    for name, low in (("accuracy", 0.9473), ("balanced_accuracy", 0.9075), ("macro_f1", 0.9313)):
        assert scores.intervals()[name] == pytest.approx([low, 1.0], abs=1e-4)


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
    true = Scores(class_names=("",) * k, confusion=shares, nll=0.0, ece=0.0)
    samples = np.random.default_rng(1).multinomial(n_rows, (shares / shares.sum()).ravel(), size=200)
    covered = dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), 0)
    for sample in samples.reshape(200, k, k):
        found = Scores(class_names=("",) * k, confusion=sample, nll=0.0, ece=0.0).intervals()
        for name in covered:
            low, high = found[name]
            covered[name] += low <= getattr(true, name) <= high
    assert min(covered.values()) >= 0.92 * 200, covered


def test_absent_classes_score_zero_and_are_left_out_of_means() -> None:
    confusion = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    scores = Scores(class_names=NAMES, confusion=confusion, nll=0.0, ece=0.0)
    assert scores.recall.tolist() == [0.75, 1.0, 0.0]
    assert scores.precision.tolist() == [1.0, 0.8, 0.0]
    assert scores.balanced_accuracy == 0.875
    assert scores.macro_f1 == pytest.approx((6 / 7 + 8 / 9) / 2)


def test_report_has_every_score_of_every_class(scores: Scores) -> None:
    report = scores.report()
    assert report["n_rows"] == 500
    assert set(report) == {
        *("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece", "intervals", "n_rows", "per_class")
    }
    assert list(report["per_class"]) == list(NAMES)
    assert set(report["per_class"]["Pear"]) == {"precision", "recall", "f1", "support"}


def test_summary_replaces_slashes_in_names(scores: Scores) -> None:
    assert "recall/Plum-Damson" in scores.summary()


def test_nll_of_a_probability_of_zero_is_finite() -> None:
    metrics = build_metrics(2)
    metrics.update(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    assert metrics.compute()["nll"].item() == pytest.approx(87.34, abs=0.01)  # -log of float32's tiny


def test_confusion_plot_shows_counts_and_shares() -> None:
    confusion = np.array([[15000, 5000, 0], [0, 40, 0], [1, 0, 9999]])
    scores = Scores(class_names=NAMES, confusion=confusion, nll=0.0, ece=0.0)
    figure = draw_confusion(scores, title="test")
    counts, shares = figure.axes
    assert [text.get_text() for text in counts.texts][:2] == ["15,000", "5,000"]
    assert [text.get_text() for text in shares.texts][:3] == ["75.0%", "25.0%", "0"]
    assert shares.texts[6].get_text() == "<0.1%"
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == list(NAMES)
    assert [label.get_text() for label in counts.get_yticklabels()] == list(NAMES)


def test_confusion_plot_takes_any_class_name(tmp_path: Path) -> None:
    names = tuple(ODD_NAMES)
    scores = Scores(class_names=names, confusion=np.eye(len(names), dtype=np.int64), nll=0.0, ece=0.0)
    # In a font of ours or not: characters without a sign in it are no mistake.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        draw_confusion(scores, title="test").savefig(tmp_path / "plot.png", dpi=20)
