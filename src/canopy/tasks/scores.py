"""Scores of a classifier, all but two of them computed from its confusion matrix."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from canopy.tasks.intervals import LEVEL, balanced_accuracy_interval, macro_f1_interval, wilson

if TYPE_CHECKING:
    # Predicting with a bundle needs no torch.
    from torch import Tensor

# Of the bootstrap: draws of the rows, and their seed.
N_DRAWS = 2000
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of a classifier on some rows.

    Attributes:
        class_names: Names of the classes, K of them.
        confusion: Rows by true class (first axis) and predicted class, shape (K, K).
        nll: Mean negative log-likelihood, in nats.
        ece: Expected calibration error over `N_CALIBRATION_BINS` bins of the top probability.
        further: Scores by metrics that the config adds.

    Examples:
        >>> scores = Scores(class_names=("a", "b"), confusion=np.array([[3, 1], [0, 4]]), nll=0.3, ece=0.1)
        >>> scores.accuracy
        0.875
    """

    class_names: tuple[str, ...]
    confusion: NDArray[np.int64]
    nll: float
    ece: float
    further: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_metrics(cls, computed: "dict[str, Tensor]", class_names: tuple[str, ...]) -> "Scores":
        """Take over what the metrics of `build_metrics` computed."""
        computed = {**computed}
        confusion = computed.pop("confusion").cpu().numpy().astype(np.int64)
        for name, value in computed.items():
            if value.numel() != 1:
                raise ValueError(
                    f"model.metrics.{name} must compute one number; got {value.numel()}: set average=macro"
                )
        numbers = {name: float(value) for name, value in computed.items()}
        nll, ece = numbers.pop("nll"), numbers.pop("ece")
        return cls(class_names=class_names, confusion=confusion, nll=nll, ece=ece, further=numbers)

    @property
    def n_rows(self) -> int:
        return int(self.confusion.sum())

    @property
    def support(self) -> NDArray[np.int64]:
        """True rows of each class, shape (K,)."""
        support: NDArray[np.int64] = self.confusion.sum(axis=1)
        return support

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of a class's rows that are found, 0 for a class without rows, shape (K,)."""
        return _divide(self.confusion.diagonal(), self.support)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of a class's predictions that are right, 0 for one never predicted, shape (K,)."""
        return _divide(self.confusion.diagonal(), self.confusion.sum(axis=0))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall, shape (K,)."""
        predicted_or_true = self.confusion.sum(axis=0) + self.support
        return _divide(2 * self.confusion.diagonal(), predicted_or_true)

    @property
    def accuracy(self) -> float:
        """Share of rows that are classified right."""
        return float(_accuracy(self.confusion))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have rows."""
        return float(_balanced_accuracy(self.confusion))

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have rows or predictions."""
        return float(_macro_f1(self.confusion))

    def intervals(self) -> dict[str, list[float]]:
        """Give the interval of each overall score that other rows of the same kind would leave it in.

        A percentile bootstrap over rows collapses where there are few errors: of a perfect score it gives an
        interval of no width. One that combines Wilson intervals of the classes does not, but is too narrow
        with many small classes. The wider of the two ends has the coverage in both cases.

        Returns:
            Intervals of `LEVEL`: of the accuracy by Wilson, of the others as above. To draw rows anew is to
            draw the cells of the confusion matrix anew.
        """
        draws = np.random.default_rng(SEED).multinomial(
            self.n_rows, self.confusion.ravel() / self.n_rows, size=N_DRAWS
        )
        matrices = draws.reshape(N_DRAWS, *self.confusion.shape)
        found = {"accuracy": [float(end) for end in wilson(self.confusion.trace(), self.n_rows)]}
        for name, score, combined in (
            ("balanced_accuracy", _balanced_accuracy, balanced_accuracy_interval(self.confusion)),
            ("macro_f1", _macro_f1, macro_f1_interval(self.confusion)),
        ):
            low, high = np.quantile(score(matrices), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            found[name] = [float(min(low, combined[0])), float(max(high, combined[1]))]
        return found

    def summary(self) -> dict[str, float]:
        """Give the numbers that a logger follows: the overall scores and each class's recall."""
        overall = {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "nll": self.nll,
            "ece": self.ece,
            **self.further,
        }
        # A slash would open its own folder in TensorBoard.
        recalls = {
            f"recall/{name.replace('/', '-')}": float(value)
            for name, value in zip(self.class_names, self.recall, strict=True)
        }
        return overall | recalls

    def report(self) -> dict[str, Any]:
        """Give all scores as JSON-able values."""
        per_class = {
            name: {
                "precision": float(self.precision[index]),
                "recall": float(self.recall[index]),
                "f1": float(self.f1[index]),
                "support": int(self.support[index]),
            }
            for index, name in enumerate(self.class_names)
        }
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "nll": self.nll,
            "ece": self.ece,
            **self.further,
            "intervals": self.intervals(),
            "n_rows": self.n_rows,
            "per_class": per_class,
        }


def _accuracy(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of confusion matrices of shape (..., K, K)."""
    found: NDArray[np.float64] = confusion.trace(axis1=-2, axis2=-1) / confusion.sum(axis=(-2, -1))
    return found


def _balanced_accuracy(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    support = confusion.sum(axis=-1)
    recall = _divide(confusion.diagonal(axis1=-2, axis2=-1), support)
    found: NDArray[np.float64] = np.mean(recall, axis=-1, where=support > 0)
    return found


def _macro_f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    seen = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    f1 = _divide(2 * confusion.diagonal(axis1=-2, axis2=-1), seen)
    found: NDArray[np.float64] = np.mean(f1, axis=-1, where=seen > 0)
    return found


def _divide(counts: NDArray[np.int64], totals: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
