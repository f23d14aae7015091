"""A kind of target, and what follows from it: everything that trains, scores, explains or exports asks it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from canopy.schema.tensors import Schema

Floats = NDArray[np.float64]
# Of rows, shape (n_rows,): indices of classes or scaled numbers; how much each counts, None if all alike.
Labels = NDArray[Any]
Weights = NDArray[Any] | None
# What a config adds: each is called with `num_classes` for classes, with nothing for numbers.
MetricMakers = Mapping[str, Callable[..., Metric]]
NO_METRICS: MetricMakers = MappingProxyType({})
# Of intervals.
LEVEL = 0.95


class TaskScores(Protocol):
    """Scores of a model on some rows."""

    @property
    def n_rows(self) -> int: ...

    def summary(self) -> dict[str, float]:
        """Give the numbers that a logger follows, by name."""

    def report(self) -> dict[str, Any]:
        """Give all scores as JSON-able values."""


class TaskCalibration(Protocol):
    """What was fitted to predictions on the validation rows, and how good it is on the rows of a split."""

    def report(self) -> dict[str, float]:
        """Give the numbers of `metrics.json`, those that were fitted among them."""


class Task(ABC):
    """What a kind of target brings.

    A net gives outputs, shape (B, K); `predict` makes predictions of them: probabilities of classes, or
    numbers in the target's unit. Labels are those of the tensors.

    Attributes:
        kind: Its name.
        n_outputs: Outputs K of a net.
        loss: Of outputs, as `as_loss_inputs` gives them, and labels; where a config names none.
        headline: The metrics that are compared first, the first one in lists.
        finite: The metric that is not finite when training diverged.
        mean_scores: Names of the scores that are means of `row_losses`, and what a loss of them is called.
        reproducible: Of these, or of a calibration's report, those that a bundle must have like its run.
    """

    kind: ClassVar[str]
    loss: Callable[..., Tensor]
    headline: ClassVar[tuple[str, ...]]
    finite: ClassVar[str]
    mean_scores: ClassVar[tuple[tuple[str, str], tuple[str, str]]]
    reproducible: ClassVar[tuple[str, ...]]
    n_outputs: int

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    @abstractmethod
    def check_loss(self, loss: Callable[..., Tensor]) -> None:
        """Refuse a loss of the other kind of target."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Name the predictions: classes, or the target."""
        return self.schema.class_names or (self.schema.target,)

    @abstractmethod
    def class_weights(self, config: str | Mapping[Any, float] | None, *, counts_of: str) -> Tensor | None:
        """Give the weight of each class in the loss, shape (K,); None if all are equal."""

    def log_prior_ratio(self) -> Tensor:
        """Give what is added to outputs in training to learn the frequencies before the cap, shape (K,)."""
        return torch.zeros(self.n_outputs)

    @abstractmethod
    def as_loss_inputs(self, outputs: Tensor) -> Tensor:
        """Give outputs, (B, K), as losses take them."""

    @abstractmethod
    def average(self, outputs: Tensor, weights: Tensor | None) -> Tensor:
        """Combine the outputs of members, (B, M, K), by weights, (M,), which sum to 1, or equally: (B, K)."""

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Give predictions, (B, K), from outputs."""

    @abstractmethod
    def prediction_columns(self, predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Lay out predictions, (n_rows, K), and labels: `label`, `predicted` and further columns."""

    @abstractmethod
    def likelihoods(self, members: Tensor, labels: Tensor) -> Tensor:
        """Give how likely labels are by the mean of members' outputs, (B, M, K), shape (B,)."""

    def temper(self, likelihoods: Tensor, rows: Tensor | None = None) -> Tensor:
        """Make likelihoods of several nets, (B, N), those of the spread that the best of them leaves.

        `rows` are the weights of the rows, (B,), if they have any.
        """
        return likelihoods

    def true_values(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Give labels in the unit of predictions, shape (n_rows,)."""
        return labels

    def metric_inputs(self, predictions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Give predictions, (B, K), and labels, (B,), as metrics take them."""
        return predictions, labels

    @abstractmethod
    def build_metrics(
        self, further: MetricMakers = NO_METRICS, *, evaluation: bool = False
    ) -> MetricCollection:
        """Make the metrics that `read_scores` reads, those of an `evaluation` and a config's (`further`).

        They are updated with what `metric_inputs` gives and, where rows have weights, those that take it with
        `weights`, shape (B,).
        """

    @abstractmethod
    def read_scores(self, computed: dict[str, Tensor]) -> TaskScores:
        """Give the scores that the metrics computed."""

    @abstractmethod
    def metric_names(self, further: MetricMakers = NO_METRICS) -> list[str]:
        """Name the scores of a validation."""

    def score_values(
        self, predictions: NDArray[Any], values: NDArray[Any], weights: Weights = None
    ) -> TaskScores:
        """Score predictions, shape (n_rows, K), of rows with these true values, as an evaluation does."""
        metrics = self.build_metrics(evaluation=True)
        found = torch.from_numpy(predictions).double().squeeze(1), torch.from_numpy(values)
        metrics.update(*found, **({} if weights is None else {"weights": torch.from_numpy(weights)}))
        return self.read_scores(metrics.compute())

    @abstractmethod
    def read_predictions(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Read predictions, (n_rows, K), from `prediction_columns`."""

    def score(self, predictions: NDArray[Any], labels: Labels, weights: Weights = None) -> TaskScores:
        """Score predictions, shape (n_rows, K), as training and evaluation do."""
        metrics = self.build_metrics()
        inputs = self.metric_inputs(torch.from_numpy(predictions).double(), torch.from_numpy(labels))
        metrics.update(*inputs, **({} if weights is None else {"weights": torch.from_numpy(weights)}))
        return self.read_scores(metrics.compute())

    @abstractmethod
    def fit_calibration(
        self, predictions: Floats, labels: Labels, weights: Weights = None
    ) -> dict[str, float]:
        """Fit what corrects predictions, (n_rows, K), or bounds their errors, on rows not trained on."""

    @abstractmethod
    def read_calibration(self, report: Mapping[str, Any]) -> dict[str, float]:
        """Read what `fit_calibration` gave from a report; a LookupError or TypeError if it is not there."""

    @abstractmethod
    def calibrate(
        self, predictions: Floats, labels: Labels, fitted: Mapping[str, float], weights: Weights = None
    ) -> TaskCalibration:
        """Measure what was fitted on the rows of a split."""

    @abstractmethod
    def score_answers(self, answers: Floats, values: NDArray[Any], weights: Weights = None) -> dict[str, Any]:
        """Report what a calibration gives, as `TaskCalibration.report` does, but for what was fitted.

        `answers` are those of a bundle, (n_rows, P), `values` those of `true_values`.
        """

    def reproduced(self, scores: Mapping[str, Any], calibrated: Mapping[str, Any]) -> dict[str, float]:
        """Choose the scores `reproducible`, calibrated ones first; a LookupError if one is not there."""
        return {
            name: float(calibrated[name] if name in calibrated else scores[name])
            for name in self.reproducible
        }

    @abstractmethod
    def answer(self, predictions: Floats, fitted: Mapping[str, float]) -> Floats:
        """Give what a bundle answers for the predictions of its run, shape (n_rows, P)."""

    @abstractmethod
    def answer_module(self, fitted: Mapping[str, float]) -> nn.Module:
        """Make the end of a bundle's graph: from outputs, (B, K), to `answer`, (B, P)."""

    @abstractmethod
    def difference(self, expected: Floats, found: NDArray[Any]) -> float:
        """Give the largest difference of two answers: of probabilities, or relative to numbers."""

    @abstractmethod
    def row_losses(self, predictions: NDArray[Any], labels: NDArray[Any]) -> Floats:
        """Give two losses of each row, shape (2, n_rows): see `mean_scores`."""

    def mean_scores_of(self, losses: Floats) -> dict[str, float]:
        """Give the scores `mean_scores` of `row_losses`, shape (2, n_rows)."""
        return {
            name: float(mean) for (name, _), mean in zip(self.mean_scores, losses.mean(axis=1), strict=True)
        }

    @abstractmethod
    def describe_mistake(self, true: Any, predicted: Any, loss: float) -> dict[str, Any]:
        """Describe a row by its value, its prediction and its first loss, as JSON-able values."""

    @abstractmethod
    def draw(self, predictions: Floats, labels: NDArray[Any], *, title: str) -> dict[str, Figure]:
        """Draw the plots of a split, by name."""

    @abstractmethod
    def draw_calibration(self, calibration: Any, *, title: str) -> Figure:
        """Draw what `calibrate` measured."""


def task_of(schema: Schema) -> Task:
    """Choose the task of a table: regression for a number, binary for two classes, else multiclass."""
    # Here, since each of them imports this module.
    from canopy.tasks.binary import Binary
    from canopy.tasks.multiclass import Multiclass
    from canopy.tasks.regression import Regression

    if schema.target_scaling is not None:
        return Regression(schema)
    return Binary(schema) if len(schema.class_names) == 2 else Multiclass(schema)
