"""The threshold of two classes, against an exhaustive search over all distinct probabilities."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, fbeta_score, precision_score, recall_score

from canopy.params import read_decision
from canopy.tasks.answers import ClassAnswers
from canopy.tasks.calibration import apply_temperature
from canopy.tasks.decision import Decider, choose_threshold, mean_threshold, uncalibrated

COSTS = {"false_positive": 1.0, "false_negative": 5.0, "true_positive": -0.5, "true_negative": 0.0}
GOALS: list[dict[str, Any]] = [
    {"name": "f_beta", "beta": 1.0},
    {"name": "f_beta", "beta": 2.0},
    {"name": "cost", "cost_matrix": COSTS},
    {"name": "recall_at_precision", "min_precision": 0.6},
    {"name": "precision_at_recall", "min_recall": 0.8},
]


def value_of(goal: dict[str, Any], labels: Any, predicted: Any, weights: Any) -> float:
    """Compute what a goal maximises; -inf where its bound is not kept."""
    tn, fp, fn, tp = np.bincount(2 * labels + predicted, weights, minlength=4).astype(float)
    precision, recall = tp / max(tp + fp, 1e-9), tp / max(tp + fn, 1e-9)
    match goal["name"]:
        case "f_beta":
            squared = goal["beta"] ** 2
            return float((1 + squared) * precision * recall / max(squared * precision + recall, 1e-9))
        case "cost":
            return float(-(fp * 1 + fn * 5 - tp * 0.5) / (tn + fp + fn + tp))
        case "recall_at_precision":
            return recall if precision >= goal["min_precision"] else -np.inf
    return precision if recall >= goal["min_recall"] else -np.inf


def draw_rows(seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    n_rows = int(random.integers(2, 30))
    # Rounded, so that rows of both classes have the same probability, also 0 and 1.
    probabilities = random.random(n_rows).round(int(random.integers(1, 4)))
    labels = (random.random(n_rows) < probabilities).astype(np.int64)
    labels[:2] = 0, 1
    return probabilities, labels


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: "_".join(map(str, goal.values()))[:24])
def test_threshold_is_that_of_an_exhaustive_search(goal: dict[str, Any]) -> None:
    n_unreachable = 0
    for seed in range(60):
        probabilities, labels = draw_rows(seed)
        weights = np.random.default_rng(seed).integers(1, 5, len(labels)) / 2 if seed % 3 == 0 else None
        candidates = [*np.unique(probabilities), np.inf]
        found = [value_of(goal, labels, probabilities >= x, weights) for x in candidates]
        if max(found) == -np.inf:
            n_unreachable += 1
            free = {**goal, "name": "precision_at_recall", "min_recall": 0}
            highest = max(value_of(free, labels, probabilities >= x, weights) for x in candidates)
            with pytest.raises(ValueError, match=f"where the highest is {highest:.4g}: set a lower"):
                choose_threshold(goal, probabilities, labels, weights=weights)
            continue
        threshold = choose_threshold(goal, probabilities, labels, weights=weights)
        assert value_of(goal, labels, probabilities >= threshold, weights) == pytest.approx(max(found))
        # Half way to the next probability: rounding changes no class.
        if seed % 2:
            single = probabilities.astype(np.float32).astype(np.float64)
            assert ((single >= threshold) == (probabilities >= threshold)).all()
    assert (n_unreachable > 0) == (goal["name"] == "recall_at_precision")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=12))
def test_any_probabilities_have_a_threshold(rows: list[tuple[float, bool]]) -> None:
    """Neighbouring floating-point numbers, subnormal ones, 0 and 1 included."""
    probabilities = np.array([0.5, 0.5, *(row[0] for row in rows)])
    labels = np.array([0, 1, *(row[1] for row in rows)])
    for goal in GOALS[:3]:
        threshold = choose_threshold(goal, probabilities, labels)
        best = max(value_of(goal, labels, probabilities >= x, None) for x in [*probabilities, np.inf])
        assert value_of(goal, labels, probabilities >= threshold, None) == pytest.approx(best)


def test_rows_of_one_class_have_no_threshold() -> None:
    for label in (0, 1):
        with pytest.raises(ValueError, match=f"rows of both classes .*; got 3 rows, {3 * label} of them pos"):
            choose_threshold(GOALS[0], np.array([0.1, 0.5, 0.9]), np.full(3, label))


def test_report_has_the_scores_of_scikit_learn_on_each_split() -> None:
    probabilities, labels = np.random.default_rng(0).random(200), np.random.default_rng(1).integers(0, 2, 200)
    decider = Decider(GOALS[1])
    decider.score("val", probabilities, labels)
    decider.score("test", probabilities[:90], labels[:90])
    assert decider.reports["val"]["threshold"] == decider.reports["test"]["threshold"]
    predicted, true = probabilities[:90] >= decider.threshold, labels[:90]
    found = decider.reports["test"]
    assert found["f_beta"] == pytest.approx(fbeta_score(true, predicted, beta=2))
    assert found["precision"] == pytest.approx(precision_score(true, predicted))
    assert found["recall"] == pytest.approx(recall_score(true, predicted))
    assert found["accuracy"] == pytest.approx((true == predicted).mean())
    assert [*found["confusion"].values()] == confusion_matrix(true, predicted).ravel().tolist()
    assert [axes.get_title() for axes in decider.figure.axes][1:] == ["ROC", "Precision and recall"]


def test_threshold_decides_over_the_likeliest_class() -> None:
    predictions = np.array([[0.7, 0.3], [0.71, 0.29], [0.2, 0.8]], np.float32)
    answers = ClassAnswers({"n": "no", "y": "yes"}, threshold=float(np.float32(0.3)))
    assert answers.group(predictions).tolist() == [1, 0, 1]
    assert answers.columns(predictions)["label"].to_pylist() == ["y", "n", "y"]
    assert [row["class"] for row in answers.report(predictions)] == ["yes", "no", "yes"]
    answers.threshold = float(np.nextafter(1.0, 2))
    assert answers.group(np.array([[0, 1]], np.float32)).tolist() == [0], "none is predicted positive"


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_uncalibrated_threshold_predicts_the_same_rows(temperature: float) -> None:
    positive = np.random.default_rng(0).random(1000)
    calibrated = np.exp(apply_temperature(np.stack([1 - positive, positive], axis=1), temperature))[:, 1]
    for threshold in (0.01, 0.5, 0.9):
        own = uncalibrated(threshold, temperature=temperature)
        assert ((positive >= own) == (calibrated >= threshold)).all()
    assert uncalibrated(np.nextafter(1, 2), temperature=temperature) == 1


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"goal": "f_beta", "beta": 0}, r"decision.beta must be above 0; got 0.0"),
        (
            {"goal": "recall_at_precision", "min_precision": 1.2},
            "min_precision must be above 0 and at most 1",
        ),
        ({"goal": "cost", "cost_matrix": {"false_negative": -1}}, "higher cost of a wrong prediction"),
        ({"goal": "best"}, r"Invalid value .best.[^$]*full_key: decision.goal"),
        ({"gaol": "cost"}, "gaol"),
    ],
)
def test_invalid_goals_are_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        read_decision(section)


def test_models_of_one_goal_have_a_mean_threshold() -> None:
    low, high = ({"decision": {"goal": GOALS[0], "threshold": x, "f1": 1}} for x in (0.2, 0.4))
    assert mean_threshold([low, high]) == {"goal": GOALS[0], "threshold": pytest.approx(0.3)}
    other = {"decision": {"goal": GOALS[1], "threshold": 0.2}}
    assert [mean_threshold([low, x]) for x in (other, {})] == [None, None]


def test_goal_keeps_its_own_option_and_later_sections_decide() -> None:
    assert read_decision({}) is None
    assert read_decision({"goal": "f_beta", "beta": 2}, {"goal": "argmax"}) is None
    assert read_decision({"goal": "f_beta"}, {"beta": 2}) == {"name": "f_beta", "beta": 2.0}
    found = read_decision({"goal": "cost", "cost_matrix": {"false_negative": 5}})
    assert found == {"name": "cost", "cost_matrix": {**COSTS, "true_positive": 0.0}}
