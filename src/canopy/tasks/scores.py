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
    the top probability; `further` are those of the task alone and of metrics that the config adds. Where rows
    have weights, `weighted` has the sums of them, and of their squares, in the cells of `confusion`, shape
    (2, K, K): all scores are computed from these.
    """

    class_names: tuple[str, ...]
    confusion: NDArray[np.int64]
    nll: float
    ece: float
    further: dict[str, float] = field(default_factory=dict)
    weighted: Floats | None = None

    @classmethod
    def from_metrics(cls, computed: dict[str, Tensor], class_names: tuple[str, ...]) -> "Scores":
        """Take over what the metrics of `Classification.build_metrics` computed."""
        confusion = computed["confusion"].cpu().numpy().astype(np.int64)
        weighted = computed["weighted"].cpu().numpy() if "weighted" in computed else None
        matrices = ("confusion", "weighted")
        numbers = {name: value for name, value in computed.items() if name not in matrices}
        for name, value in numbers.items():
            if (n := value.numel()) != 1:
                raise ValueError(f"model.metrics.{name} must compute one number; got {n}: set average=macro")
        further = {name: float(value) for name, value in numbers.items()}
        # Rows of one class alone have no AUC.
        for name in ("auc", "average_precision"):
            if math.isnan(further.get(name, 0.0)):
                del further[name]
        scores = {"nll": further.pop("nll"), "ece": further.pop("ece")}
        return cls(class_names=class_names, confusion=confusion, weighted=weighted, further=further, **scores)

    @property
    def n_rows(self) -> int:
        return int(self.confusion.sum())

    @property
    def support(self) -> NDArray[np.int64]:
        """True rows of each class, shape (K,)."""
        return np.asarray(self.confusion.sum(axis=1))

    @property
    def weights(self) -> NDArray[Any]:
        """What scores are computed from: the confusion matrix, of rows or of their weights."""
        return self.confusion if self.weighted is None else self.weighted[0]

    @property
    def shares(self) -> Floats:
        """Share of each predicted class in each true class, shape (K, K)."""
        true = self.weights.sum(axis=1, keepdims=True)
        return np.asarray(self.weights / np.where(true > 0, true, 1))

    @property
    def recall(self) -> Floats:
        """Share of a class's rows that are found, 0 for a class without rows, shape (K,)."""
        return _divide(self.weights.diagonal(), self.weights.sum(axis=1))

    @property
    def accuracy(self) -> float:
        return float(overall_scores(self.weights)["accuracy"])

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have rows or predictions."""
        return float(overall_scores(self.weights)["macro_f1"])

    def intervals(self) -> dict[str, list[float]]:
        """Give the interval, of `LEVEL`, of each score of the confusion matrix.

        That of the accuracy is Wilson's. The others have the wider ends of two intervals: percentiles of a
        bootstrap over rows have no width where there are no errors; those of draws with Jeffreys' prior, half
        a correct row and half an error more for each class, are too low with many small classes.

        Rows with weights are, in each cell, as many rows of equal weight as are as precise
        (`canopy.tasks.calibration.effective_rows`); the accuracy has an interval like the others.
        """
        # Here, since it takes time to import.
        from scipy.stats import binomtest

        n_classes, n_rows = len(self.confusion), self.n_rows
        generator = np.random.default_rng(SEED)
        counts, units = self._effective_rows()
        flat, present = counts.ravel(), self.weights.sum(axis=1) > 0
        # To draw rows anew is to draw the cells of the confusion matrix anew; empty ones stay empty.
        cells = np.union1d(np.flatnonzero(flat), [flat.size - 1])

        def draw_rows(size: tuple[int, int]) -> NDArray[Any]:
            if self.weighted is None:
                return generator.multinomial(n_rows, flat[cells] / n_rows, size[0])
            # Their number is drawn too, since effective rows of cells are no integers.
            return generator.poisson(flat[cells], size)

        bootstrap = _draw_scores(draw_rows, cells, units)
        prior = np.where(np.eye(n_classes, dtype=bool), 0.5, 0.5 / max(n_classes - 1, 1))
        if flat.size * N_DRAWS > N_DRAWN:
            # As much for the sums of rows and columns, in fewer cells.
            prior = 0.5 * np.eye(n_classes)
            places = np.flatnonzero(present)
            prior[places, np.roll(places, -1)] += 0.5
        shapes = (counts + prior * present[:, None]).ravel()
        some = np.flatnonzero(shapes)
        posterior = _draw_scores(lambda size: generator.gamma(shapes[some], size=size), some, units)
        tails, found = [(1 - LEVEL) / 2, (1 + LEVEL) / 2], {}
        for name, estimate in overall_scores(self.weights).items():
            ends = np.append([np.nanquantile(x[name], tails) for x in (bootstrap, posterior)], estimate)
            found[name] = [float(ends.min()), float(ends.max())]
        if self.weighted is not None:
            return found
        wilson = binomtest(int(self.confusion.trace()), n_rows).proportion_ci(LEVEL, method="wilson")
        return found | {"accuracy": np.clip(wilson, 0, 1).tolist()}

    def _effective_rows(self) -> tuple[NDArray[Any], Floats]:
        """Give how many rows each cell is worth, and the weight of one, both of shape (K, K)."""
        if self.weighted is None:
            return self.confusion, np.ones(self.confusion.shape)
        weights, squares = self.weighted
        # Of an empty cell: those of its class.
        of_class = _divide(squares.sum(axis=1), weights.sum(axis=1))
        units = np.where(weights > 0, _divide(squares, weights), of_class[:, None])
        return _divide(weights, units), units

    def summary(self) -> dict[str, float]:
        """Give the numbers that a logger follows: the overall scores and each class's recall."""
        # A slash would open its own folder in TensorBoard.
        names = [f"recall/{name.replace('/', '-')}" for name in self.class_names]
        return self._numbers() | dict(zip(names, self.recall.tolist(), strict=True))

    def report(self) -> dict[str, Any]:
        """Give all scores as JSON-able values."""
        right, true, predicted = self.weights.diagonal(), self.weights.sum(axis=1), self.weights.sum(axis=0)
        precision, f1 = _divide(right, predicted), _divide(2 * right, true + predicted)
        columns = (values.tolist() for values in (precision, self.recall, f1, self.support))
        per_class = {
            name: dict(zip(("precision", "recall", "f1", "support"), row, strict=True))
            for name, *row in zip(self.class_names, *columns, strict=True)
        }
        further = {"intervals": self.intervals(), "n_rows": self.n_rows, "per_class": per_class}
        return {**self._numbers(), **further}

    def _numbers(self) -> dict[str, float]:
        overall = {name: float(value) for name, value in overall_scores(self.weights).items()}
        return {**overall, "nll": self.nll, "ece": self.ece, **self.further}


def _draw_scores(
    draw: Callable[[tuple[int, int]], NDArray[Any]], cells: NDArray[np.intp], units: Floats
) -> dict[str, Floats]:
    """Give the scores of confusion matrices whose `cells` `draw` gives, shape (n, n_cells); others are 0.

    `units` are the weights of one row in each cell, shape (K, K).
    """
    n_classes = len(units)
    n_draws = min(N_DRAWS, max(N_LEAST_DRAWS, N_DRAWN // len(cells)))
    n_held = max(1, N_HELD // n_classes**2)
    parts = []
    for start in range(0, n_draws, n_held):
        drawn = np.zeros((min(n_held, n_draws - start), n_classes**2))
        drawn[:, cells] = draw((len(drawn), len(cells))) * units.ravel()[cells]
        # Of weighted rows, a draw may have none.
        drawn = drawn[drawn.any(axis=1)]
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

    def update(  # type: ignore[override]
        self, probabilities: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> None:
        given = probabilities.gather(1, labels[:, None]).clamp_min(torch.finfo(torch.float32).tiny)
        if weights is None:
            super().update(-given.log())
        else:
            # With this strategy the parent takes no weights.
            self.mean_value -= (given.log()[:, 0] * weights).sum()
            self.weight += weights.sum()


class CalibrationError(MulticlassCalibrationError):
    """Expected calibration error; in the parent, probabilities of 1 have their own bin, with less error."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        # The parent computes in single precision.
        super().update(preds.clamp_max(1 - torch.finfo(torch.float32).eps), target)
