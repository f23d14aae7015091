"""The metrics that every classifier is scored by, most of them computed from its confusion matrix."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassCalibrationError

from canopy.tasks.task import LEVEL

# Guo et al., On calibration of modern neural networks, 2017.
N_CALIBRATION_BINS = 15
# Of the intervals.
N_DRAWS, N_LEAST_DRAWS = 2000, 200
SEED = 0
# Cells of the confusion matrices that are drawn: of many classes, fewer matrices; and cells held in memory.
N_DRAWN, N_HELD = 6_000_000, 2_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of a classifier on some rows.

    `confusion` counts rows by true class (first axis) and predicted class, shape (K, K). `nll` is the mean
    negative log-likelihood, in nats, `ece` the expected calibration error over `N_CALIBRATION_BINS` bins of
    the top probability; `further` are those of the task alone and of metrics that the config adds.
    """

    class_names: tuple[str, ...]
    confusion: NDArray[np.int64]
    nll: float
    ece: float
    further: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_metrics(cls, computed: dict[str, Tensor], class_names: tuple[str, ...]) -> "Scores":
        """Take over what the metrics of `Classification.build_metrics` computed."""
        confusion = computed["confusion"].cpu().numpy().astype(np.int64)
        numbers = {name: value for name, value in computed.items() if name != "confusion"}
        for name, value in numbers.items():
            if (n := value.numel()) != 1:
                raise ValueError(f"model.metrics.{name} must compute one number; got {n}: set average=macro")
        further = {name: float(value) for name, value in numbers.items()}
        # Rows of one class alone have no AUC.
        for name in ("auc", "average_precision"):
            if math.isnan(further.get(name, 0.0)):
                del further[name]
        scores = {"nll": further.pop("nll"), "ece": further.pop("ece")}
        return cls(class_names=class_names, confusion=confusion, further=further, **scores)

    @property
    def n_rows(self) -> int:
        return int(self.confusion.sum())

    @property
    def support(self) -> NDArray[np.int64]:
        """True rows of each class, shape (K,)."""
        return np.asarray(self.confusion.sum(axis=1))

    @property
    def recall(self) -> Floats:
        """Share of a class's rows that are found, 0 for a class without rows, shape (K,)."""
        return _divide(self.confusion.diagonal(), self.support)

    @property
    def accuracy(self) -> float:
        return float(overall_scores(self.confusion)["accuracy"])

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have rows or predictions."""
        return float(overall_scores(self.confusion)["macro_f1"])

    def intervals(self) -> dict[str, list[float]]:
        """Give the interval, of `LEVEL`, of each score of the confusion matrix.

        That of the accuracy is Wilson's. The others have the wider ends of two intervals: percentiles of a
        bootstrap over rows have no width where there are no errors; those of draws with Jeffreys' prior, half
        a correct row and half an error more for each class, are too low with many small classes.
        """
        # Here, since it takes time to import.
        from scipy.stats import binomtest

        n_classes, n_rows = len(self.confusion), self.n_rows
        generator = np.random.default_rng(SEED)
        counts, present = self.confusion.ravel(), np.flatnonzero(self.support)
        # To draw rows anew is to draw the cells of the confusion matrix anew; empty ones stay empty.
        cells = np.union1d(np.flatnonzero(counts), [counts.size - 1])
        bootstrap = _draw_scores(
            lambda size: generator.multinomial(n_rows, counts[cells] / n_rows, size[0]), cells, n_classes
        )
        prior = np.where(np.eye(n_classes, dtype=bool), 0.5, 0.5 / max(n_classes - 1, 1))
        if counts.size * N_DRAWS > N_DRAWN:
            # As much for the sums of rows and columns, in fewer cells.
            prior = 0.5 * np.eye(n_classes)
            prior[present, np.roll(present, -1)] += 0.5
        shapes = (self.confusion + prior * (self.support > 0)[:, None]).ravel()
        some = np.flatnonzero(shapes)
        posterior = _draw_scores(lambda size: generator.gamma(shapes[some], size=size), some, n_classes)
        tails, found = [(1 - LEVEL) / 2, (1 + LEVEL) / 2], {}
        for name, estimate in overall_scores(self.confusion).items():
            ends = np.append([np.quantile(x[name], tails) for x in (bootstrap, posterior)], estimate)
            found[name] = [float(ends.min()), float(ends.max())]
        wilson = binomtest(int(self.confusion.trace()), n_rows).proportion_ci(LEVEL, method="wilson")
        return found | {"accuracy": np.clip(wilson, 0, 1).tolist()}

    def summary(self) -> dict[str, float]:
        """Give the numbers that a logger follows: the overall scores and each class's recall."""
        # A slash would open its own folder in TensorBoard.
        names = [f"recall/{name.replace('/', '-')}" for name in self.class_names]
        return self._numbers() | dict(zip(names, self.recall.tolist(), strict=True))

    def report(self) -> dict[str, Any]:
        """Give all scores as JSON-able values."""
        right, predicted = self.confusion.diagonal(), self.confusion.sum(axis=0)
        precision, f1 = _divide(right, predicted), _divide(2 * right, self.support + predicted)
        columns = (values.tolist() for values in (precision, self.recall, f1, self.support))
        per_class = {
            name: dict(zip(("precision", "recall", "f1", "support"), row, strict=True))
            for name, *row in zip(self.class_names, *columns, strict=True)
        }
        further = {"intervals": self.intervals(), "n_rows": self.n_rows, "per_class": per_class}
        return {**self._numbers(), **further}

    def _numbers(self) -> dict[str, float]:
        overall = {name: float(value) for name, value in overall_scores(self.confusion).items()}
        return {**overall, "nll": self.nll, "ece": self.ece, **self.further}


def _draw_scores(
    draw: Callable[[tuple[int, int]], NDArray[Any]], cells: NDArray[np.intp], n_classes: int
) -> dict[str, Floats]:
    """Give the scores of confusion matrices whose `cells` `draw` gives, shape (n, n_cells); others are 0."""
    n_draws = min(N_DRAWS, max(N_LEAST_DRAWS, N_DRAWN // len(cells)))
    n_held = max(1, N_HELD // n_classes**2)
    parts = []
    for start in range(0, n_draws, n_held):
        drawn = np.zeros((min(n_held, n_draws - start), n_classes**2))
        drawn[:, cells] = draw((len(drawn), len(cells)))
        parts.append(overall_scores(drawn.reshape(-1, n_classes, n_classes)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def overall_scores(confusion: NDArray[Any]) -> dict[str, Floats]:
    """Give the scores of confusion matrices, shape (..., K, K), over the classes that have rows."""
    right = confusion.diagonal(axis1=-2, axis2=-1)
    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    of_positive: dict[str, Floats] = {}
    if confusion.shape[-1] == 2:
        (a, b), (c, d) = np.moveaxis(confusion, (-2, -1), (0, 1)).astype(float)
        margins = np.sqrt(true.prod(axis=-1, dtype=float) * predicted.prod(axis=-1, dtype=float))
        of_positive["f1"] = _divide(2 * right[..., 1], true[..., 1] + predicted[..., 1])
        of_positive["mcc"] = _divide(a * d - b * c, margins)
    return {
        "accuracy": right.sum(axis=-1) / true.sum(axis=-1),
        "balanced_accuracy": np.mean(_divide(right, true), axis=-1, where=true > 0),
        "macro_f1": np.mean(_divide(2 * right, true + predicted), axis=-1, where=true + predicted > 0),
        **of_positive,
    }


def _divide(counts: NDArray[Any], totals: NDArray[Any]) -> Floats:
    return np.asarray(np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0))


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
