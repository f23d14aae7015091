"""Binary classification: the second class is positive."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision
from torchmetrics.utilities.data import dim_zero_cat

from canopy.tasks.classification import Classification
from canopy.tasks.weighted import WeightedRanking


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


class Brier(MeanMetric):
    """Mean squared distance of the probability of the positive class from 1 or 0."""

    def update(  # type: ignore[override]
        self, probabilities: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> None:
        super().update((probabilities[:, 1] - labels).square(), weights)


class Binary(Classification):
    """Two classes: scores of the positive one, and of how well its probability orders rows."""

    kind = "binary"
    headline: ClassVar[tuple[str, ...]] = (*Classification.headline, "auc", "average_precision")

    def own_metrics(self, *, evaluation: bool) -> dict[str, Metric]:
        if self.schema.weight_sums:
            score: Any = {"auc": "roc_auc_score", "average_precision": "average_precision_score"}
            return {**{name: WeightedRanking(taken) for name, taken in score.items()}, "brier": Brier()}
        options: dict[str, Any] = {"validate_args": False}
        return {"auc": AUC(**options), "average_precision": AveragePrecision(**options), "brier": Brier()}
