"""The metrics of rows that have weights; those that torchmetrics offers count all rows alike."""

from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.utilities.data import dim_zero_cat

from canopy.tasks.calibration import calibration_bins

Weights = Tensor | None


class WeightedConfusion(Metric):
    """Sums of weights and of their squares by true class (rows) and predicted class, shape (2, K, K)."""

    totals: Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes
        zeros = torch.zeros(2, n_classes**2, dtype=torch.float64)
        self.add_state("totals", zeros, dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, labels: Tensor, weights: Weights = None) -> None:
        cells = labels * self.n_classes + probabilities.argmax(dim=1)
        found = _or_ones(weights, probabilities)
        sums = [cells.bincount(part, self.n_classes**2) for part in (found, found.square())]
        self.totals += torch.stack(sums).to(self.totals)

    def compute(self) -> Tensor:
        return self.totals.view(2, self.n_classes, self.n_classes)


class WeightedCalibrationError(Metric):
    """Expected calibration error: mean distance of confidence and accuracy of bins, by their weight."""

    totals: Tensor

    def __init__(self, n_bins: int) -> None:
        super().__init__()
        self.n_bins = n_bins
        # Of each bin: weights, and sums of them times confidence and times being right.
        self.add_state("totals", torch.zeros(3, n_bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, labels: Tensor, weights: Weights = None) -> None:
        confidence, predicted = probabilities.max(dim=1)
        bins = calibration_bins(confidence.cpu().numpy(), self.n_bins)
        found = _or_ones(weights, confidence)
        parts = (found, found * confidence, found * (predicted == labels))
        sums = [torch.from_numpy(bins).bincount(part.cpu().double(), self.n_bins) for part in parts]
        self.totals += torch.stack(sums).to(self.totals)

    def compute(self) -> Tensor:
        weights, confidence, right = self.totals
        error: Tensor = (confidence - right).abs().sum() / weights.sum()
        return error


class WeightedTopK(MeanMetric):
    """Share of rows whose class is among the `top_k` likeliest."""

    def __init__(self, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k

    def update(self, probabilities: Tensor, labels: Tensor, weights: Weights = None) -> None:  # type: ignore[override]
        is_among = (probabilities.topk(self.top_k, dim=1).indices == labels[:, None]).any(dim=1)
        super().update(is_among.to(probabilities), _or_ones(weights, probabilities))


class WeightedRanking(Metric):
    """AUC or average precision, by scikit-learn; rows of weight 0 do not count.

    Of two classes, the second is positive. Of several, it is the mean over those that have rows but not all
    of them, each against the rest. NaN if there are none.
    """

    probabilities: list[Tensor]
    labels: list[Tensor]
    weights: list[Tensor]

    def __init__(self, score: Literal["roc_auc_score", "average_precision_score"]) -> None:
        super().__init__()
        self.score = score
        for name in ("probabilities", "labels", "weights"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, probabilities: Tensor, labels: Tensor, weights: Weights = None) -> None:
        found = _or_ones(weights, probabilities)
        is_counted = found > 0
        self.probabilities.append(probabilities[is_counted])
        self.labels.append(labels[is_counted])
        self.weights.append(found[is_counted])

    def compute(self) -> Tensor:
        # Here, since it takes time to import.
        import sklearn.metrics

        parts: Any = (self.probabilities, self.labels, self.weights)
        probabilities, labels, weights = (dim_zero_cat(part).cpu().numpy() for part in parts)
        score = getattr(sklearn.metrics, self.score)
        n_classes = probabilities.shape[1]
        found = [
            float(score(is_class, probabilities[:, place], sample_weight=weights))
            for place in ([1] if n_classes == 2 else range(n_classes))
            if 0 < (is_class := labels == place).sum() < len(labels)
        ]
        return torch.tensor(found, dtype=torch.float64).mean()


def _or_ones(weights: Weights, like: Tensor) -> Tensor:
    return torch.ones_like(like[..., 0] if like.ndim == 2 else like) if weights is None else weights.to(like)
