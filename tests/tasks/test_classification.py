"""Scores of binary and multiclass classification, against those of scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    matthews_corrcoef,
    roc_auc_score,
    top_k_accuracy_score,
)

from canopy.tasks.plots import draw_curves
from schemas import class_task


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_rows", [7, 500])
def test_scores_of_two_classes_are_those_of_scikit_learn(n_rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    # Rounded, so that many rows have the same probability.
    positive = random.random(n_rows).round(2)
    labels = (random.random(n_rows) < positive).astype(np.int64)
    labels[:2] = 0, 1
    found = class_task("no", "yes").score(np.stack([1 - positive, positive], axis=1), labels).report()
    predicted = positive > 0.5
    expected = {
        "auc": roc_auc_score(labels, positive),
        "average_precision": average_precision_score(labels, positive),
        "brier": brier_score_loss(labels, positive),
        "f1": f1_score(labels, predicted, zero_division=0),
        "mcc": matthews_corrcoef(labels, predicted),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    for name in ("f1", "mcc"):
        low, high = found["intervals"][name]
        assert low <= found[name] <= high


@pytest.mark.parametrize("n_classes", [3, 6])
def test_scores_of_an_evaluation_of_many_classes_are_those_of_scikit_learn(n_classes: int) -> None:
    random = np.random.default_rng(n_classes)
    probabilities = random.dirichlet(np.ones(n_classes), size=300)
    labels = np.array([random.choice(n_classes, p=row) for row in probabilities])
    task = class_task(*"abcdef"[:n_classes])
    metrics = task.build_metrics(evaluation=True)
    for rows in np.array_split(np.arange(300), 4):
        metrics.update(torch.tensor(probabilities[rows]), torch.tensor(labels[rows]))
    expected = {"auc": roc_auc_score(labels, probabilities, multi_class="ovr")}
    for k in (2, 3, 5):
        if k < n_classes:
            expected[f"top_{k}_accuracy"] = top_k_accuracy_score(labels, probabilities, k=k)
    found = task.read_scores(metrics.compute()).report()
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert not {*expected}.intersection(task.metric_names()), "they take long"


def test_classes_without_rows_are_left_out_of_the_auc() -> None:
    labels = np.array([0, 1, 0, 1])
    metric = class_task(*"abc").build_metrics(evaluation=True)["auc"]
    metric.update(torch.eye(3)[labels], torch.tensor(labels))
    assert metric.compute() == 1
    found = class_task("no", "yes").score(np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 1])).report()
    assert not {"auc", "average_precision"} & {*found}, "they need rows of both classes"


def test_curves_leave_out_classes_without_rows() -> None:
    random = np.random.default_rng(0)
    names = ("${x}", "a $ b $", "none")
    roc, precision, gain = draw_curves(
        random.dirichlet(np.ones(3), size=50), random.integers(0, 2, 50), names, title="test"
    ).axes
    for axes in (roc, precision, gain):
        assert {text.get_text().split(": ")[0] for text in axes.get_legend().get_texts()} == {*names[:2]}
    figure = draw_curves(np.array([[1.0, 0.0], [0.4, 0.6]]), np.array([0, 1]), ("no", "yes"), title="test")
    assert "yes: AUC 1.0000" in figure.axes[0].get_legend().get_texts()[0].get_text()
