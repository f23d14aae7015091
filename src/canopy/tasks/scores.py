"""Scores of a classifier, all but two of them computed from its confusion matrix."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    # Predicting with a bundle needs no torch.
    from torch import Tensor

LEVEL = 0.95
N_DRAWS = 2000
SEED = 0

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of a classifier on some rows.

    Attributes:
        class_names: Names of the classes, K of them.
        confusion: Rows by true class (first axis) and predicted class, shape (K, K).
        nll: Mean negative log-likelihood, in nats.
        ece: Expected calibration error over `N_CALIBRATION_BINS` bins of the top probability.
        further: Scores by metrics that the config adds.
    """

    class_names: tuple[str, ...]
    confusion: NDArray[np.int64]
    nll: float
    ece: float
    further: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_metrics(cls, computed: "dict[str, Tensor]", class_names: tuple[str, ...]) -> "Scores":
        """Take over what the metrics of `build_metrics` computed."""
        numbers = {**computed}
        confusion = numbers.pop("confusion").cpu().numpy().astype(np.int64)
        for name, value in numbers.items():
            if value.numel() != 1:
                raise ValueError(
                    f"model.metrics.{name} must compute one number; got {value.numel()}: set average=macro"
                )
        nll, ece = float(numbers.pop("nll")), float(numbers.pop("ece"))
        further = {name: float(value) for name, value in numbers.items()}
        return cls(class_names=class_names, confusion=confusion, nll=nll, ece=ece, further=further)

    @property
    def n_rows(self) -> int:
        return int(self.confusion.sum())

    @property
    def support(self) -> NDArray[np.int64]:
        """True rows of each class, shape (K,)."""
        support: NDArray[np.int64] = self.confusion.sum(axis=1)
        return support

    @property
    def recall(self) -> Floats:
        """Share of a class's rows that are found, 0 for a class without rows, shape (K,)."""
        return _divide(self.confusion.diagonal(), self.support)

    @property
    def accuracy(self) -> float:
        """Share of rows that are classified right."""
        return float(_overall(self.confusion)["accuracy"])

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have rows or predictions."""
        return float(_overall(self.confusion)["macro_f1"])

    def intervals(self) -> dict[str, list[float]]:
        """Give the interval, of `LEVEL`, of each score that is computed from the confusion matrix.

        That of the accuracy is Wilson's. The others have the wider ends of two intervals: percentiles of a
        bootstrap over rows have no width where there are no errors; those of draws with Jeffreys' prior, half
        a correct row and half an error more for each class, are too low with many small classes.
        """
        # Here, since it takes time to import.
        from scipy.stats import binomtest

        n_classes, n_rows = len(self.confusion), self.n_rows
        generator = np.random.default_rng(SEED)
        # To draw rows anew is to draw the cells of the confusion matrix anew.
        bootstrap = generator.multinomial(n_rows, self.confusion.ravel() / n_rows, size=N_DRAWS)
        prior = np.where(np.eye(n_classes, dtype=bool), 0.5, 0.5 / max(n_classes - 1, 1))
        prior *= (self.support > 0)[:, None]
        posterior = generator.gamma(self.confusion + prior, size=(N_DRAWS, n_classes, n_classes))
        drawn = [_overall(draws) for draws in (bootstrap.reshape(posterior.shape), posterior)]
        found = {}
        for name, estimate in _overall(self.confusion).items():
            ends = [np.quantile(scores[name], [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) for scores in drawn]
            all_ends = np.append(ends, estimate)
            found[name] = [float(all_ends.min()), float(all_ends.max())]
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
        columns = {
            "precision": _divide(right, predicted),
            "recall": self.recall,
            "f1": _divide(2 * right, self.support + predicted),
            "support": self.support,
        }
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        per_class = [dict(zip(columns, row, strict=True)) for row in rows]
        return {
            **self._numbers(),
            "intervals": self.intervals(),
            "n_rows": self.n_rows,
            "per_class": dict(zip(self.class_names, per_class, strict=True)),
        }

    def _numbers(self) -> dict[str, float]:
        overall = {name: float(value) for name, value in _overall(self.confusion).items()}
        return {**overall, "nll": self.nll, "ece": self.ece, **self.further}


def _overall(confusion: NDArray[Any]) -> dict[str, Floats]:
    """Give the scores of confusion matrices, shape (..., K, K), over the classes that have rows."""
    right = confusion.diagonal(axis1=-2, axis2=-1)
    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    return {
        "accuracy": right.sum(axis=-1) / true.sum(axis=-1),
        "balanced_accuracy": np.mean(_divide(right, true), axis=-1, where=true > 0),
        "macro_f1": np.mean(_divide(2 * right, true + predicted), axis=-1, where=true + predicted > 0),
    }


def _divide(counts: NDArray[Any], totals: NDArray[Any]) -> Floats:
    shares: Floats = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    return shares
