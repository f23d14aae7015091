"""Whether two models differ on the same rows: paired bootstrap and McNemar's test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, chdtrc

CONFIDENCE = 0.95
# Below as many rows that only one model classifies right, the chi-square approximation is too coarse.
N_EXACT = 25
# Most numbers that the resamples of one block hold, so that many classes do not fill the memory.
_BLOCK = 4_000_000

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A difference, B minus A, and its 95 % interval."""

    difference: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def negated(self) -> "Interval":
        """Give A minus B."""
        return Interval(difference=0.0 - self.difference, low=0.0 - self.high, high=0.0 - self.low)


@dataclass(frozen=True, kw_only=True)
class Significance:
    """How two models differ on the same rows.

    Attributes:
        n_rows: Number of rows.
        n_only_a: Rows that A alone classifies right.
        n_only_b: Rows that B alone classifies right.
        n_same: Rows for which both predict the same class.
        accuracy: Difference of the accuracies.
        macro_f1: Difference of the macro-F1.
        mcnemar_p: p-value of McNemar's test.
    """

    n_rows: int
    n_only_a: int
    n_only_b: int
    n_same: int
    accuracy: Interval
    macro_f1: Interval
    mcnemar_p: float


@dataclass(frozen=True, kw_only=True)
class JointTable:
    """How many rows have which label and get which two predictions: M combinations that occur.

    Attributes:
        label: Class of each combination, shape (M,).
        a: Prediction of A, shape (M,).
        b: Prediction of B, shape (M,).
        counts: Rows of each combination, shape (M,).
        n_classes: Number of classes, K.
    """

    label: Ints
    a: Ints
    b: Ints
    counts: Ints | Floats
    n_classes: int

    @classmethod
    def of(cls, labels: Ints, a: Ints, b: Ints) -> "JointTable":
        """Count them; all arguments have the shape (n_rows,)."""
        k = int(max(labels.max(), a.max(), b.max())) + 1
        cells, counts = np.unique((labels * k + a) * k + b, return_counts=True)
        return cls(label=cells // (k * k), a=cells // k % k, b=cells % k, counts=counts, n_classes=k)

    def with_pseudo_rows(self) -> "JointTable":
        """Add one row that only A has right and one that only B has right, spread over labels and errors.

        So Bonett and Price (Adjusted Wald confidence interval for a difference of binomial proportions based
        on paired data, 2012) keep their interval from collapsing where few rows distinguish the two.
        """
        classes = np.unique(np.concatenate([self.label, self.a, self.b]))
        labels = np.bincount(self.label, self.counts, self.n_classes)
        pairs = [(k, wrong) for k in np.unique(self.label) for wrong in classes if wrong != k]
        if not pairs:
            return self
        label, wrong = np.array(pairs).T
        weight = labels[label] / labels.sum() / (len(classes) - 1)
        return JointTable(
            label=np.concatenate([self.label, label, label]),
            a=np.concatenate([self.a, label, wrong]),
            b=np.concatenate([self.b, wrong, label]),
            counts=np.concatenate([self.counts, weight, weight]),
            n_classes=self.n_classes,
        )

    def differences(self, counts: Floats) -> tuple[Floats, Floats]:
        """Measure B minus A for other counts of the same combinations.

        Args:
            counts: Shape (R, M).

        Returns:
            The differences of the accuracy and of the macro-F1, each of shape (R,).
        """
        gains = (self.b == self.label).astype(float) - (self.a == self.label)
        accuracy = counts @ gains / counts.sum(axis=1)
        return accuracy, self._macro_f1(counts, self.b) - self._macro_f1(counts, self.a)

    def _macro_f1(self, counts: Floats, predicted: Ints) -> Floats:
        """Average F1 over the classes that have rows or predictions, as `Scores.macro_f1` does."""
        classes = np.arange(self.n_classes)
        is_label = (self.label[:, None] == classes).astype(float)
        is_predicted = (predicted[:, None] == classes).astype(float)
        total = counts @ (is_label + is_predicted)
        right = counts @ (is_label * is_predicted)
        f1 = np.divide(2 * right, total, out=np.zeros_like(total), where=total > 0)
        mean: Floats = f1.sum(axis=1) / (total > 0).sum(axis=1)
        return mean


def compare_predictions(
    labels: Ints, predicted_a: Ints, predicted_b: Ints, *, n_resamples: int = 2000, seed: int = 0
) -> Significance:
    """Compare two models on the same rows.

    To draw rows with replacement is to draw the counts of the joint table from a multinomial distribution,
    so each resample costs as much as the table has cells, however many rows there are. Intervals are those
    of the percentiles (Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13). Resamples
    are drawn from `JointTable.with_pseudo_rows`.

    Args:
        labels: Class of each row, shape (n_rows,).
        predicted_a: Class that A predicts for each row, shape (n_rows,).
        predicted_b: Class that B predicts for each row, shape (n_rows,).
        n_resamples: Resamples of the bootstrap.
        seed: Seed of the bootstrap.

    Returns:
        The differences, B minus A. With A and B exchanged, exactly their negatives.

    Raises:
        ValueError: If there are no rows, or not as many of each.
    """
    if not len(labels) or not len(labels) == len(predicted_a) == len(predicted_b):
        raise ValueError(
            "Models must be compared on the same rows, at least one; found "
            f"{len(labels)} labels, {len(predicted_a)} and {len(predicted_b)} predictions"
        )
    only_a = (predicted_a == labels) & (predicted_b != labels)
    only_b = (predicted_b == labels) & (predicted_a != labels)
    # One order of the two, so that the resamples do not depend on which is called A.
    other = np.flatnonzero(predicted_a != predicted_b)
    swapped = len(other) > 0 and predicted_a[other[0]] > predicted_b[other[0]]
    first, second = (predicted_b, predicted_a) if swapped else (predicted_a, predicted_b)
    accuracy, macro_f1 = _bootstrap(
        JointTable.of(labels, first, second), n_resamples=n_resamples, rng=np.random.default_rng(seed)
    )
    return Significance(
        n_rows=len(labels),
        n_only_a=int(only_a.sum()),
        n_only_b=int(only_b.sum()),
        n_same=len(labels) - len(other),
        accuracy=accuracy.negated() if swapped else accuracy,
        macro_f1=macro_f1.negated() if swapped else macro_f1,
        mcnemar_p=mcnemar(int(only_a.sum()), int(only_b.sum())),
    )


def mcnemar(n_only_a: int, n_only_b: int) -> float:
    """Test whether two models are right equally often, from the rows that only one of them has right.

    Exact below `N_EXACT` such rows, by the binomial distribution; above by chi-square with continuity
    correction (McNemar, Note on the sampling error of the difference between correlated proportions,
    1947; Edwards, 1948).

    Returns:
        The two-sided p-value.

    Examples:
        >>> [round(mcnemar(*counts), 5) for counts in ((1, 5), (0, 0), (40, 70))]
        [0.21875, 1.0, 0.00569]
    """
    n = n_only_a + n_only_b
    if n < N_EXACT:
        return min(1.0, 2 * float(bdtr(min(n_only_a, n_only_b), n, 0.5)))
    return float(chdtrc(1, max(abs(n_only_a - n_only_b) - 1, 0) ** 2 / n))


def _bootstrap(table: JointTable, *, n_resamples: int, rng: np.random.Generator) -> tuple[Interval, Interval]:
    n_rows = int(table.counts.sum())
    resampled = table.with_pseudo_rows()
    shares = resampled.counts / resampled.counts.sum()
    block = max(1, _BLOCK // max(len(shares), table.n_classes))
    parts = []
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        drawn = rng.multinomial(n_rows, shares, size=size)
        parts.append(resampled.differences(drawn.astype(float)))
    observed = table.differences(table.counts[None].astype(float))
    intervals = []
    for i in range(2):
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(np.concatenate([part[i] for part in parts]), [tail, 1 - tail])
        intervals.append(Interval(difference=float(observed[i][0]), low=float(low), high=float(high)))
    return intervals[0], intervals[1]
