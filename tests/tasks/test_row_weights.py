"""Scores of rows with weights: those of scikit-learn, and those of rows that are repeated or left out."""

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from canopy.schema.tensors import Schema
from canopy.tasks.calibration import calibrate, effective_rows, fit_temperature
from canopy.tasks.scores import Scores
from canopy.tasks.task import Task, task_of

N_ROWS = 400
OF_NUMBERS = {"kind": "affine", "method": "z_score", "center": 3.0, "scale": 2.0}


def make_task(n_classes: int, *, weighted: bool = True) -> Task:
    """Make the task of so many classes, of a number if there are none."""
    names = tuple("abcdefg"[:n_classes])
    counts = {name: (100,) * max(n_classes, 1) for name in ("train", "val", "test", "train_before_cap")}
    schema = Schema(
        target="y",
        class_values=names,
        class_names=names,
        numeric=(),
        quantiles=(),
        categorical=(),
        class_counts=counts,
        shards={},
        sha256={},
        target_scaling=None if n_classes else OF_NUMBERS,
        weight_sums=counts if weighted else None,
    )
    return task_of(schema)


def draw(n_classes: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """Draw predictions, labels as in tensors and weights, some of them 0."""
    generator = np.random.default_rng(seed)
    weights = generator.choice([0, 0.5, 1, 3], N_ROWS).astype(np.float32)
    if not n_classes:
        labels = generator.standard_normal(N_ROWS).astype(np.float32)
        return (labels * 2 + 3 + generator.standard_normal(N_ROWS))[:, None], labels, weights
    logits = 2 * generator.standard_normal((N_ROWS, n_classes))
    labels = (logits + 2 * generator.standard_normal(logits.shape)).argmax(axis=1)
    return softmax(logits, axis=1), labels, weights


def evaluate(task: Task, predictions: Any, labels: Any, weights: Any = None) -> dict[str, Any]:
    """Score with the metrics of an evaluation too."""
    build = task.build_metrics
    task.build_metrics = lambda *args: build(*args, evaluation=True)  # type: ignore[method-assign]
    return task.score(predictions, labels, weights).report()


def definitions(n_classes: int, predictions: Any, labels: Any, weights: Any) -> dict[str, float]:
    """Compute scores with scikit-learn, the calibration error by hand."""
    by: dict[str, Any] = {"sample_weight": weights}
    if not n_classes:
        pair = labels * np.float64(2) + 3, predictions[:, 0]
        return {
            "rmse": sk.root_mean_squared_error(*pair, **by),
            "mae": sk.mean_absolute_error(*pair, **by),
            "r2": sk.r2_score(*pair, **by),
            "mape": sk.mean_absolute_percentage_error(*pair, **by),
        }
    pair, top = (labels, predictions.argmax(axis=1)), predictions.max(axis=1)
    right, mass = pair[1] == labels, np.ones(N_ROWS) if weights is None else weights
    bins = (top * 15).astype(int)
    gaps = [abs((mass * (right - top))[bins == b].sum()) for b in range(15)]
    found = {
        "accuracy": sk.accuracy_score(*pair, **by),
        "balanced_accuracy": sk.balanced_accuracy_score(*pair, **by),
        "macro_f1": sk.f1_score(*pair, average="macro", **by),
        "nll": sk.log_loss(labels, predictions, **by),
        "ece": sum(gaps) / mass.sum(),
    }
    if n_classes == 2:
        positive = labels, predictions[:, 1]
        return found | {
            "f1": sk.f1_score(*pair, **by),
            "mcc": sk.matthews_corrcoef(*pair, **by),
            "auc": sk.roc_auc_score(*positive, **by),
            "average_precision": sk.average_precision_score(*positive, **by),
            "brier": sk.brier_score_loss(*positive, **by),
        }
    auc = sk.roc_auc_score(np.eye(n_classes)[labels], predictions, average="macro", **by)
    top_k = {f"top_{k}_accuracy": sk.top_k_accuracy_score(labels, predictions, k=k, **by) for k in (2, 3)}
    return found | {"auc": auc} | top_k


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("n_classes", [0, 2, 4])
def test_scores_are_those_of_scikit_learn(n_classes: int, weighted: bool) -> None:
    for seed in range(3):
        predictions, labels, weights = draw(n_classes, seed)
        weights = weights if weighted else None
        report = evaluate(make_task(n_classes, weighted=weighted), predictions, labels, weights)
        expected = definitions(n_classes, predictions, labels, weights)
        assert {name: report[name] for name in expected} == pytest.approx(expected, abs=2e-6)
        assert report["n_rows"] == N_ROWS
        if n_classes:
            support = [found["support"] for found in report["per_class"].values()]
            assert support == np.bincount(labels, minlength=n_classes).tolist(), "rows, whatever they weigh"
            own = sk.recall_score(labels, predictions.argmax(axis=1), average=None, sample_weight=weights)
            assert [found["recall"] for found in report["per_class"].values()] == pytest.approx(own.tolist())


def without(report: dict[str, Any]) -> dict[str, Any]:
    """Leave out what depends on the number of rows."""
    return {name: value for name, value in report.items() if isinstance(value, float)}


@pytest.mark.parametrize("n_classes", [0, 2, 4])
def test_weights_are_rows_that_are_repeated_or_left_out(n_classes: int) -> None:
    predictions, labels, _ = draw(n_classes)
    times = np.random.default_rng(1).integers(0, 3, N_ROWS)
    weighted = evaluate(make_task(n_classes), predictions, labels, times.astype(np.float32))
    repeated = evaluate(
        make_task(n_classes, weighted=False), predictions.repeat(times, axis=0), labels.repeat(times)
    )
    assert without(weighted) == pytest.approx(without(repeated), abs=1e-6)
    ones = evaluate(make_task(n_classes), predictions, labels, np.ones(N_ROWS, np.float32))
    plain = evaluate(make_task(n_classes, weighted=False), predictions, labels)
    for name, ends in plain["intervals"].items():
        # Those of classes are drawn in another way, and that of the accuracy is Wilson's without weights.
        assert ones["intervals"][name] == pytest.approx(ends, abs=0.01 if n_classes else 1e-12)


def test_classes_without_weight_have_no_part_in_means() -> None:
    predictions, labels, weights = draw(4)
    weights[labels == 3] = 0
    report = evaluate(make_task(4), predictions, labels, weights)
    kept = labels != 3
    pair = labels[kept], predictions[kept].argmax(axis=1)
    own = sk.recall_score(*pair, average=None, labels=[0, 1, 2], sample_weight=weights[kept])
    assert report["balanced_accuracy"] == pytest.approx(own.mean())
    assert np.isfinite(report["auc"])
    weights[labels != 0] = 0
    assert "auc" not in evaluate(make_task(4), predictions, labels, weights), "one class alone has none"


@pytest.mark.parametrize("heavy", [1, 30])
def test_intervals_cover_what_weighted_samples_scatter(heavy: float) -> None:
    """Of samples of 300 rows, the rarer class of which weighs more."""
    generator = np.random.default_rng(0)
    shares = np.array([[0.85, 0.05], [0.02, 0.08]])
    unit = np.array([[1.0], [heavy]])
    covered: dict[str, int] = {}
    true = Scores(
        class_names=("a", "b"),
        confusion=np.eye(2, dtype=int),
        nll=0,
        ece=0,
        weighted=np.stack([shares * unit, shares * unit**2]),
    ).summary()
    for _ in range(100):
        rows = generator.multinomial(300, shares.ravel()).reshape(2, 2)
        weighted = np.stack([rows * unit, rows * unit**2])
        scores = Scores(class_names=("a", "b"), confusion=rows, nll=0, ece=0, weighted=weighted)
        for name, (low, high) in scores.intervals().items():
            covered[name] = covered.get(name, 0) + (low <= true[name] <= high)
    assert min(covered.values()) >= 88, covered


def test_temperature_is_that_of_repeated_rows() -> None:
    predictions, labels, _ = draw(4)
    times = np.random.default_rng(1).integers(0, 3, N_ROWS)
    weighted = fit_temperature(predictions, labels, times.astype(np.float32))
    assert weighted == pytest.approx(
        fit_temperature(predictions.repeat(times, 0), labels.repeat(times)), rel=0.01
    )
    assert fit_temperature(predictions, labels, np.full(N_ROWS, 7)) == pytest.approx(
        fit_temperature(predictions, labels)
    )
    found, plain = (
        calibrate(*arrays, temperature=1.5).report()
        for arrays in ((predictions, labels, times), (predictions.repeat(times, 0), labels.repeat(times)))
    )
    assert found == pytest.approx(plain)


def test_effective_rows_do_not_depend_on_the_unit_of_weights() -> None:
    assert effective_rows(np.full(10, 0.3)) == pytest.approx(10)
    assert effective_rows(np.array([1, 1, 2])) == pytest.approx(16 / 6)
