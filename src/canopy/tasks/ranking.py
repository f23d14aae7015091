"""How well probabilities order rows: the area under the ROC curve, average precision, the Brier score.

Of two classes, the second one is positive.
"""

from typing import Any

from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    MulticlassAccuracy,
    MulticlassAUROC,
)


class _OfPositive:
    """Takes the probabilities of both classes."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        super().update(preds[:, 1], target)  # type: ignore[misc]


class AUC(_OfPositive, BinaryAUROC):
    """Probability that a positive row gets a higher one than a negative row."""


class AveragePrecision(_OfPositive, BinaryAveragePrecision):
    """Mean of the precision over the recall, without interpolation."""


class Brier(MeanMetric):
    """Mean squared distance of the probability of the positive class from 1 or 0."""

    def update(self, probabilities: Tensor, labels: Tensor) -> None:  # type: ignore[override]
        super().update((probabilities[:, 1] - labels).square())


def ranking_metrics(n_classes: int, *, evaluation: bool = False) -> dict[str, Metric]:
    """Make the metrics that need the probabilities of all rows; of more classes only for an `evaluation`.

    There they sort all rows for each class: one against the others, of which the mean is taken.
    """
    options: dict[str, Any] = {"validate_args": False}
    if n_classes == 2:
        return {"auc": AUC(**options), "average_precision": AveragePrecision(**options), "brier": Brier()}
    if not evaluation:
        return {}
    top: dict[str, Metric] = {
        f"top_{k}_accuracy": MulticlassAccuracy(n_classes, top_k=k, average="micro", **options)
        for k in (2, 3, 5)
        if k < n_classes
    }
    return {"auc": MulticlassAUROC(n_classes, **options), **top}
