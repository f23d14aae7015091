"""The threshold of two classes: the least calibrated probability at which a row is predicted positive.

A goal is what `canopy.params_sections.Decision.options` gives: its name (`goal`) and its own option.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Goal = Mapping[str, Any]
# Of a curve that is drawn.
N_POINTS = 200


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Rows, or their weights, by class and prediction: at one threshold, or at each of several, (T,)."""

    true_negative: NDArray[Any]
    false_positive: NDArray[Any]
    false_negative: NDArray[Any]
    true_positive: NDArray[Any]

    @property
    def total(self) -> NDArray[Any]:
        return np.asarray(sum(vars(self).values()))

    @property
    def precision(self) -> Floats:
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> Floats:
        return _share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def false_positive_rate(self) -> Floats:
        return _share(self.false_positive, self.false_positive + self.true_negative)

    @property
    def accuracy(self) -> Floats:
        return _share(self.true_positive + self.true_negative, self.total)

    def f_beta(self, beta: float) -> Floats:
        """Weighted harmonic mean of precision and recall; recall counts `beta` times as much."""
        right = (1 + beta**2) * self.true_positive
        return _share(right, right + beta**2 * self.false_negative + self.false_positive)

    def cost(self, matrix: Mapping[str, float]) -> Floats:
        """Mean cost of a row."""
        costs = np.asarray(sum(matrix[name] * rows for name, rows in vars(self).items()))
        return _share(costs, self.total)

    def scores(self, goal: Goal) -> dict[str, Floats]:
        """Give the scores that are reported, that of the goal among them."""
        found = {"precision": self.precision, "recall": self.recall, "f1": self.f_beta(1)}
        if goal["goal"] == "f_beta":
            found["f_beta"] = self.f_beta(goal["beta"])
        found["accuracy"] = self.accuracy
        if goal["goal"] == "cost":
            found["cost"] = self.cost(goal["cost_matrix"])
        return found


def count_at_thresholds(
    probabilities: Floats, labels: NDArray[Any], *, weights: Floats | None = None
) -> tuple[Floats, Counts]:
    """Count at all thresholds that predict different rows as positive, shape (T,), the highest first.

    The first one predicts no row as positive, the last one all. Each is midway between two probabilities, so
    that a rounding error changes no class.
    """
    # Here, since it takes time to import.
    from sklearn.metrics import confusion_matrix_at_thresholds

    *counts, scores = confusion_matrix_at_thresholds(
        labels, probabilities, pos_label=1, sample_weight=weights
    )
    negative, positive = counts[0][0] + counts[1][0], counts[2][0] + counts[3][0]
    none_positive = (negative, 0, positive, 0)
    parts = [np.append(first, found) for first, found in zip(none_positive, counts, strict=True)]
    upper, lower = np.append(1.0, scores), np.append(scores, 0.0)
    # Of neighbouring floating-point numbers, the middle is one of them.
    thresholds = np.maximum((upper + lower) / 2, np.minimum(np.nextafter(lower, 2), upper))
    # The first must be above all, also where the highest probability is 1.
    thresholds[0] = max(thresholds[0], np.nextafter(scores[0], 2))
    return thresholds, Counts(**dict(zip(Counts.__dataclass_fields__, parts, strict=True)))


def choose_threshold(
    goal: Goal, probabilities: Floats, labels: NDArray[Any], *, weights: Floats | None = None
) -> float:
    """Choose the best threshold for a goal among all; of equal ones the highest.

    Args:
        goal: What is maximised, or minimised of a cost.
        probabilities: Calibrated ones of the positive class, of rows not trained on, shape (n_rows,).
        labels: 1 for positive rows, 0 for others, shape (n_rows,).
        weights: Of each row, shape (n_rows,).

    Raises:
        ValueError: If rows of one class are missing, or no threshold has the precision.
    """
    if (n_positive := int(np.count_nonzero(labels))) in (0, len(labels)):
        raise ValueError(
            "decision.goal must have validation rows of both classes to choose a threshold; got "
            f"{len(labels)} rows, {n_positive} of them positive: set it to null, or split otherwise"
        )
    thresholds, counts = count_at_thresholds(probabilities, labels, weights=weights)
    precision, recall = counts.precision, counts.recall
    match goal["goal"]:
        case "f_beta":
            value = counts.f_beta(goal["beta"])
        case "cost":
            value = -counts.cost(goal["cost_matrix"])
        case "recall_at_precision":
            if (highest := precision.max()) < goal["min_precision"]:
                raise ValueError(
                    "decision.min_precision must be reached by a threshold on the validation rows; got "
                    f"{goal['min_precision']:g}, where the highest is {highest:.4g}: set a lower one"
                )
            value = np.where(precision >= goal["min_precision"], recall, -1)
        case _:
            value = np.where(recall >= goal["min_recall"], precision, -1)
    return float(thresholds[value.argmax()])


class Decider:
    """Chooses the threshold on validation rows, unless it is given, and scores it on the rows of splits.

    Attributes:
        goal: What the threshold is chosen for.
        threshold: None before a validation.
        reports: Scores at the threshold by split, as `metrics.json` has them.
        curve: Points of the curves of the validation rows, for a plot.
    """

    def __init__(self, goal: Goal, threshold: float | None = None) -> None:
        self.goal, self.threshold = goal, threshold
        self.reports: dict[str, dict[str, Any]] = {}
        self.curve: dict[str, Any] = {}

    @property
    def fitted(self) -> dict[str, Any]:
        """Goal and threshold: what a bundle keeps."""
        return {**self.goal, "threshold": self.threshold}

    def score(
        self, split: str, probabilities: Floats, labels: NDArray[Any], *, weights: Floats | None = None
    ) -> None:
        """Take the positive class's calibrated probabilities of a split, (n_rows,), and its labels."""
        if split == "val":
            self.threshold = choose_threshold(self.goal, probabilities, labels, weights=weights)
            self.curve = draw_points(self.goal, probabilities, labels, weights=weights)
        assert self.threshold is not None
        cells = 2 * labels + (probabilities >= self.threshold)
        found = np.bincount(cells, weights, minlength=4)
        counts = Counts(**dict(zip(Counts.__dataclass_fields__, found, strict=True)))
        scores = {name: float(value) for name, value in counts.scores(self.goal).items()}
        confusion = {name: value.item() for name, value in vars(counts).items()}
        rate = float(counts.false_positive_rate)
        self.reports[split] = {**self.fitted, **scores, "false_positive_rate": rate, "confusion": confusion}


def draw_points(goal: Goal, probabilities: Floats, labels: NDArray[Any], **options: Any) -> dict[str, Any]:
    """Give points of the scores over thresholds from 0 to 1, and of the ROC and precision-recall curves."""
    thresholds, counts = count_at_thresholds(probabilities, labels, **options)
    # In equal steps of the threshold, and of rank.
    grid = np.linspace(0, 1, N_POINTS + 1)
    places = np.clip(np.searchsorted(-thresholds, -grid, side="left"), 0, len(thresholds) - 1)
    ranks = np.unique(np.linspace(0, len(thresholds) - 1, N_POINTS).round().astype(int))
    scores = {name: values[places].tolist() for name, values in counts.scores(goal).items()}
    curves = np.stack([counts.false_positive_rate, counts.recall, counts.precision])[:, ranks].tolist()
    # Where no row is predicted positive, there is no precision.
    precision = [values[1:] for values in curves[1:]]
    return {"thresholds": grid.tolist(), "scores": scores, "roc": curves[:2], "precision": precision}


def stored_threshold(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read goal and threshold, as `Decider.fitted`, from the scores of a split; None if it has none."""
    if (found := report.get("decision")) is None:
        return None
    names = ("goal", "beta", "cost_matrix", "min_precision", "min_recall", "threshold")
    return {name: found[name] for name in names if name in found}


def uncalibrated(threshold: float, *, temperature: float) -> float:
    """Give the threshold of the probability before the temperature that predicts the same rows positive."""
    positive, negative = threshold**temperature, max(1 - threshold, 0) ** temperature
    return float(positive / (positive + negative))


def _share(rows: NDArray[Any], totals: NDArray[Any]) -> Floats:
    return np.asarray(np.divide(rows, totals, out=np.zeros(np.shape(rows)), where=np.asarray(totals) > 0))
