"""The threshold of two classes: the least calibrated probability at which a row is predicted positive."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# What `canopy.params_sections.Decision.options` gives: the goal's name and its own option.
Goal = Mapping[str, Any]
# Rows by class and prediction: the order of counts.
CELLS = ("true_negative", "false_positive", "false_negative", "true_positive")


def scores_at(counts: NDArray[Any], goal: Goal) -> dict[str, Floats]:
    """Give the scores of counts of `CELLS`, shape (4, ...), that of the goal among them."""
    negative, false_positive, false_negative, positive = counts

    def f_score(beta: float) -> Floats:
        right = (1 + beta**2) * positive
        return _share(right, right + beta**2 * false_negative + false_positive)

    found = {
        "precision": _share(positive, positive + false_positive),
        "recall": _share(positive, positive + false_negative),
        "false_positive_rate": _share(false_positive, false_positive + negative),
        "accuracy": _share(positive + negative, counts.sum(axis=0)),
        "f1": f_score(1),
    }
    if goal["name"] == "f_beta":
        found["f_beta"] = f_score(goal["beta"])
    if goal["name"] == "cost":
        costs = np.array([goal["cost_matrix"][cell] for cell in CELLS])
        found["cost"] = _share(np.tensordot(costs, counts, axes=1), counts.sum(axis=0))
    return found


def count_at_thresholds(
    probabilities: Floats, labels: NDArray[Any], *, weights: NDArray[Any] | None = None
) -> tuple[Floats, Floats]:
    """Give all thresholds that predict different rows as positive, (T,), the highest first; counts, (4, T).

    The first one predicts no row as positive, the last one all. Each is midway between two probabilities, so
    that a rounding error changes no class.
    """
    # Here, since it takes time to import.
    from sklearn.metrics import confusion_matrix_at_thresholds

    *found, scores = confusion_matrix_at_thresholds(labels, probabilities, pos_label=1, sample_weight=weights)
    counts = np.array(found)
    negative, positive = counts[:2, 0].sum(), counts[2:, 0].sum()
    counts = np.insert(counts, 0, [negative, 0, positive, 0], axis=1)
    upper, lower = np.append(1.0, scores), np.append(scores, 0.0)
    # Of neighbouring floating-point numbers, the middle is one of them.
    thresholds = np.maximum((upper + lower) / 2, np.minimum(np.nextafter(lower, 2), upper))
    # The first must be above all, also where the highest probability is 1.
    thresholds[0] = max(thresholds[0], np.nextafter(scores[0], 2))
    return thresholds, counts


def choose_threshold(
    goal: Goal, probabilities: Floats, labels: NDArray[Any], *, weights: NDArray[Any] | None = None
) -> float:
    """Choose the best threshold for a goal among all; of equal ones the highest.

    Args:
        goal: What is maximised, or minimised of a cost.
        probabilities: Calibrated ones of the positive class, of rows not trained on, shape (n_rows,).
        labels: 1 for positive rows, 0 for others, shape (n_rows,).
        weights: Of each row, shape (n_rows,).

    Raises:
        ValueError: If there are rows of one class alone, or no threshold has the precision.
    """
    if (n_positive := int(np.count_nonzero(labels))) in (0, len(labels)):
        raise ValueError(
            "decision.goal must have validation rows of both classes to choose a threshold; got "
            f"{len(labels)} rows, {n_positive} of them positive: set it to null, or split otherwise"
        )
    thresholds, counts = count_at_thresholds(probabilities, labels, weights=weights)
    scores = scores_at(counts, goal)
    precision, recall = scores["precision"], scores["recall"]
    match goal["name"]:
        case "f_beta":
            value = scores["f_beta"]
        case "cost":
            value = -scores["cost"]
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
        figure: Plot of the validation rows, a matplotlib `Figure`.
    """

    def __init__(self, goal: Goal, threshold: float | None = None) -> None:
        self.goal, self.threshold = goal, threshold
        self.reports: dict[str, dict[str, Any]] = {}
        self.figure: Any = None

    def score(
        self, split: str, probabilities: Floats, labels: NDArray[Any], *, weights: NDArray[Any] | None = None
    ) -> None:
        """Take the positive class's calibrated probabilities of a split, (n_rows,), and its labels."""
        if split == "val":
            self.threshold = choose_threshold(self.goal, probabilities, labels, weights=weights)
        assert self.threshold is not None
        counts = np.bincount(2 * labels + (probabilities >= self.threshold), weights, minlength=4)
        scores = {name: float(value) for name, value in scores_at(counts, self.goal).items()}
        if split == "val":
            # Here, since predictions do without it.
            from canopy.tasks.plots import draw_decision

            curves = count_at_thresholds(probabilities, labels, weights=weights)
            self.figure = draw_decision(*curves, goal=self.goal, threshold=self.threshold, scores=scores)
        confusion = dict(zip(CELLS, counts.tolist(), strict=True))
        self.reports[split] = {**self.fitted, **scores, "confusion": confusion}

    @property
    def fitted(self) -> dict[str, Any]:
        """Goal and threshold: what a bundle keeps."""
        return {"goal": dict(self.goal), "threshold": self.threshold}


def stored_threshold(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read goal and threshold, as `Decider.fitted`, from the scores of a split; None if it has none."""
    found = report.get("decision")
    return found and {name: found[name] for name in ("goal", "threshold")}


def mean_threshold(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Give the mean threshold of several models; None unless all have one for the same goal."""
    first, *others = found = [stored_threshold(report) for report in reports]
    if first is None or any(one is None or one["goal"] != first["goal"] for one in others):
        return None
    return {**first, "threshold": float(np.mean([one["threshold"] for one in found if one]))}


def uncalibrated(threshold: float, *, temperature: float) -> float:
    """Give the threshold of the probability before the temperature that predicts the same rows positive."""
    positive, negative = threshold**temperature, max(1 - threshold, 0) ** temperature
    return float(positive / (positive + negative))


def _share(rows: NDArray[Any], totals: NDArray[Any]) -> Floats:
    return np.asarray(np.divide(rows, totals, out=np.zeros(np.shape(rows)), where=np.asarray(totals) > 0))
