"""How well probabilities order rows: the area under the ROC curve, average precision, the Brier score.

Of two classes, the second one is positive.
"""

import warnings
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    MulticlassAccuracy,
    MulticlassAUROC,
)
from torchmetrics.utilities.data import dim_zero_cat


class _OfPositive:
    """Takes the probabilities of both classes; NaN for rows of one class alone."""

    target: Any

    def update(self, preds: Tensor, target: Tensor) -> None:
        super().update(preds[:, 1], target)  # type: ignore[misc]

    def compute(self) -> Tensor:
        labels = dim_zero_cat(self.target)
        if (labels == labels[0]).all():
            return torch.tensor(torch.nan)
        found: Tensor = super().compute()  # type: ignore[misc]
        return found


class AUC(_OfPositive, BinaryAUROC):  # type: ignore[misc]
    """Probability that a positive row gets a higher one than a negative row."""


class AveragePrecision(_OfPositive, BinaryAveragePrecision):  # type: ignore[misc]
    """Mean of the precision over the recall, without interpolation."""


class MeanAUC(MulticlassAUROC):
    """Mean AUC of each class against the rest, over the classes that have rows but not all of them."""

    def __init__(self, n_classes: int, **options: Any) -> None:
        super().__init__(n_classes, average="none", **options)

    def compute(self) -> Tensor:  # type: ignore[override]
        counts = dim_zero_cat(self.target).bincount(minlength=self.num_classes)
        with warnings.catch_warnings():
            # Of classes without rows.
            warnings.simplefilter("ignore")
            return super().compute()[(counts > 0) & (counts < counts.sum())].mean()


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
    return {"auc": MeanAUC(n_classes, **options), **top}
