"""The metrics that every classifier is scored by, and those that a config adds."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassCalibrationError, MulticlassConfusionMatrix

from canopy.tasks.scores import Scores

# Guo et al., On calibration of modern neural networks, 2017.
N_CALIBRATION_BINS = 15


class NegativeLogLikelihood(MeanMetric):
    """Mean of minus the log of the probability that the true class was given, in nats."""

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")

    def update(self, probabilities: Tensor, labels: Tensor) -> None:  # type: ignore[override]
        given = probabilities.gather(1, labels[:, None]).clamp_min(torch.finfo(torch.float32).tiny)
        super().update(-given.log())


class CalibrationError(MulticlassCalibrationError):
    """Expected calibration error; in the parent, probabilities of 1 have their own bin, with less error."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        # The parent computes in single precision.
        super().update(preds.clamp_max(1 - torch.finfo(torch.float32).eps), target)


def build_metrics(
    n_classes: int, further: Mapping[str, Callable[..., Metric]] = MappingProxyType({})
) -> MetricCollection:
    """Make the metrics that `Scores.from_metrics` reads; they take probabilities and labels.

    `further` makes the metrics that a config adds, by their names: each is called with `num_classes`.
    """
    own: dict[str, Metric | MetricCollection] = {
        "confusion": MulticlassConfusionMatrix(n_classes, validate_args=False),
        "nll": NegativeLogLikelihood(),
        "ece": CalibrationError(n_classes, n_bins=N_CALIBRATION_BINS, validate_args=False),
    }
    if taken := {*own, "accuracy", "balanced_accuracy", "macro_f1"}.intersection(further):
        raise ValueError(f"model.metrics must have new names; got {', '.join(sorted(taken))}")
    own |= {name: make(num_classes=n_classes) for name, make in further.items()}
    return MetricCollection(own, compute_groups=False)


def score(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64], class_names: tuple[str, ...]
) -> Scores:
    """Score predictions, shape (n_rows, K), as training and evaluation do."""
    metrics = build_metrics(len(class_names))
    metrics.update(torch.from_numpy(probabilities).double(), torch.from_numpy(labels))
    return Scores.from_metrics(metrics.compute(), class_names)
