"""What binary and multiclass classification share: probabilities of classes, and a temperature for them."""

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassConfusionMatrix

from canopy.schema.tensors import Schema
from canopy.tasks.calibration import Calibration, apply_temperature, calibrate, fit_temperature
from canopy.tasks.losses import make_class_weights
from canopy.tasks.plots import draw_curves, draw_reliability
from canopy.tasks.scores import (
    N_CALIBRATION_BINS,
    CalibrationError,
    NegativeLogLikelihood,
    Scores,
    overall_scores,
)
from canopy.tasks.task import NO_METRICS, Floats, Labels, MetricMakers, Task, Weights
from canopy.tasks.weighted import WeightedCalibrationError, WeightedConfusion


class Classification(Task):
    """Classes: outputs are logits, predictions probabilities, labels the indices of classes."""

    loss: Callable[..., Tensor] = staticmethod(F.cross_entropy)
    headline: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "nll", "ece")
    finite = "nll"
    mean_scores: ClassVar[tuple[tuple[str, str], tuple[str, str]]] = (
        ("log_loss", "log_loss_increase"),
        ("accuracy", "accuracy_decrease"),
    )
    reproducible: ClassVar[tuple[str, ...]] = ("accuracy", "nll")

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema)
        self.n_outputs = len(schema.class_names)

    def check_loss(self, loss: Callable[..., Tensor]) -> None:
        labels = torch.arange(self.n_outputs + 1) % self.n_outputs
        try:
            # Some only warn of other shapes.
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                loss(torch.zeros(len(labels), self.n_outputs), labels)
        except (RuntimeError, TypeError, IndexError, UserWarning) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"model.loss must take logits and classes; got one that says: {reason}"
            ) from error

    def class_weights(self, config: str | Mapping[Any, float] | None, *, counts_of: str) -> Tensor | None:
        return make_class_weights(config, self.schema, counts_of=counts_of)

    def log_prior_ratio(self) -> Tensor:
        """Give log(frequency after the cap / frequency before it) of each class, by weights if rows have any.

        Source: Menon et al., Long-tail learning via logit adjustment, 2021.
        """
        counts = self.schema.class_sizes
        before, after = (torch.tensor(counts[key]).double() for key in ("train_before_cap", "train"))
        ratio = ((after / after.sum()) / (before / before.sum())).log().float()
        # A class without training rows has no frequency, and nothing to correct; nor has one of which the cap
        # leaves rows of weight 0 alone.
        return ratio.where((before > 0) & (after > 0), 0.0)

    def as_loss_inputs(self, outputs: Tensor) -> Tensor:
        return outputs

    def average(self, outputs: Tensor, weights: Tensor | None) -> Tensor:
        """Give logits whose softmax is the weighted mean of the members' probabilities."""
        log_weights = -math.log(outputs.shape[1]) if weights is None else weights.log()[:, None]
        return (outputs.log_softmax(dim=2) + log_weights).logsumexp(dim=1)

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(dim=1)

    def prediction_columns(self, predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Give indices of classes, and the probability of each: `probability_0`, `probability_1`, ..."""
        columns = {"label": labels, "predicted": predictions.argmax(axis=1)}
        found = enumerate(np.ascontiguousarray(predictions.T))
        return columns | {f"probability_{k}": column for k, column in found}

    def likelihoods(self, members: Tensor, labels: Tensor) -> Tensor:
        probabilities = members.softmax(dim=2).mean(dim=1)
        return probabilities[torch.arange(len(labels), device=labels.device), labels]

    @abstractmethod
    def own_metrics(self, *, evaluation: bool) -> dict[str, Metric]:
        """Make those that need the probabilities of all rows."""

    def build_metrics(
        self, further: MetricMakers = NO_METRICS, *, evaluation: bool = False
    ) -> MetricCollection:
        """Make the metrics; a config's own get `num_classes`."""
        n = self.n_outputs
        own: dict[str, Metric | MetricCollection] = {
            "confusion": MulticlassConfusionMatrix(n, validate_args=False),
            "nll": NegativeLogLikelihood(),
            "ece": CalibrationError(n, n_bins=N_CALIBRATION_BINS, validate_args=False),
            **self.own_metrics(evaluation=evaluation),
        }
        if self.schema.weight_sums:
            own |= {"weighted": WeightedConfusion(n), "ece": WeightedCalibrationError(N_CALIBRATION_BINS)}
        if taken := {*own, *overall_scores(np.eye(n))}.intersection(further):
            raise ValueError(f"model.metrics must have new names; got {', '.join(sorted(taken))}")
        own |= {name: make(num_classes=n) for name, make in further.items()}
        return MetricCollection(own, compute_groups=False)

    def read_scores(self, computed: dict[str, Tensor]) -> Scores:
        return Scores.from_metrics(computed, self.schema.class_names)

    def metric_names(self, further: MetricMakers = NO_METRICS) -> list[str]:
        names = dict.fromkeys([*self.own_metrics(evaluation=False), *map(str, further)], 0.0)
        counts = np.eye(self.n_outputs, dtype=np.int64)
        scores = Scores(
            class_names=self.schema.class_names, confusion=counts, nll=0.0, ece=0.0, further=names
        )
        return [*scores.summary()]

    def fit_calibration(
        self, predictions: Floats, labels: Labels, weights: Weights = None
    ) -> dict[str, float]:
        return {"temperature": fit_temperature(predictions, labels, weights)}

    def read_calibration(self, report: Mapping[str, Any]) -> dict[str, float]:
        return {"temperature": float(report["temperature"])}

    def calibrate(
        self, predictions: Floats, labels: Labels, fitted: Mapping[str, float], weights: Weights = None
    ) -> Calibration:
        return calibrate(predictions, labels, weights, temperature=fitted["temperature"])

    def answer(self, predictions: Floats, fitted: Mapping[str, float]) -> Floats:
        """Give the probabilities with the temperature."""
        return np.asarray(np.exp(apply_temperature(predictions, fitted["temperature"])))

    def answer_module(self, fitted: Mapping[str, float]) -> nn.Module:
        return TemperatureSoftmax(fitted["temperature"])

    def difference(self, expected: Floats, found: NDArray[Any]) -> float:
        return float(np.abs(expected - found).max())

    def score_answers(self, answers: Floats, values: NDArray[Any], weights: Weights = None) -> dict[str, Any]:
        found = self.calibrate(answers, values, {"temperature": 1.0}, weights).report()
        return {name: found[name] for name in ("nll", "ece")}

    def read_predictions(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return np.column_stack([columns[f"probability_{k}"] for k in range(self.n_outputs)])

    def row_losses(self, predictions: NDArray[Any], labels: NDArray[Any]) -> Floats:
        """Give the log loss, in nat, and whether the likeliest class is wrong."""
        given = np.take_along_axis(predictions, labels[:, None], axis=1)[:, 0].astype(np.float64)
        losses = -np.log(np.maximum(given, np.finfo(np.float32).tiny))
        return np.stack([losses, predictions.argmax(axis=1) != labels])

    def mean_scores_of(self, losses: Floats) -> dict[str, float]:
        found = super().mean_scores_of(losses)
        return {**found, "accuracy": 1 - found["accuracy"]}

    def describe_mistake(self, true: Any, predicted: Any, loss: float) -> dict[str, Any]:
        names = self.schema.class_names
        return {
            "true": names[true],
            "predicted": names[predicted],
            "probability_of_true": math.exp(-loss),
            "log_loss": loss,
        }

    def draw(self, predictions: Floats, labels: NDArray[Any], *, title: str) -> dict[str, Figure]:
        return {"curves": draw_curves(predictions, labels, self.schema.class_names, title=title)}

    def draw_calibration(self, calibration: Any, *, title: str) -> Figure:
        return draw_reliability(calibration, title=title)


class TemperatureSoftmax(nn.Module):
    """From logits to probabilities, both (B, K); above 1, a temperature makes them less confident."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = nn.Buffer(torch.tensor(temperature))

    def forward(self, logits: Tensor) -> Tensor:
        return (logits / self.temperature).softmax(dim=1)
