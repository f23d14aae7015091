"""Whether two models differ on the same rows: paired bootstrap, McNemar's test, the answer in a sentence."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import bdtr, chdtrc

from canopy.text_tables import decimals_for_error, signed

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

    def describe(self, *, test: str = "") -> str:
        """Write the difference and its interval.

        Examples:
            >>> Interval(difference=0.0031, low=0.002, high=0.0042).describe()
            '+0.0031 (95 % interval +0.0020 to +0.0042)'
        """
        n = decimals_for_error(1.0, (self.high - self.low) / 2)
        difference, low, high = (
            signed(value, n_decimals=n) for value in (self.difference, self.low, self.high)
        )
        return f"{difference} (95 % interval {low} to {high}{test})"


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

    def verdict(self, *, split: str) -> str:
        """Answer whether A or B is better on the rows of a split, with the differences in its favour."""
        if self.n_same == self.n_rows:
            return (
                "A and B are not distinguishable: they predict the same class for each of the "
                f"{self.n_rows:,} {split} rows"
            )
        accuracy, macro_f1, better, worse = self.accuracy, self.macro_f1, "B", "A"
        # Both have to agree, so that the approximation of neither decides alone.
        by_accuracy = accuracy.excludes_zero and self.mcnemar_p < 1 - CONFIDENCE
        if (accuracy if by_accuracy else macro_f1).high < 0:
            accuracy, macro_f1, better, worse = accuracy.negated(), macro_f1.negated(), "A", "B"
        if by_accuracy and macro_f1.high < 0:
            answer = f"{better} is better in accuracy and {worse} in macro-F1"
        elif by_accuracy:
            answer = f"{better} is better than {worse}"
        elif macro_f1.excludes_zero:
            answer = f"A and B are not distinguishable in accuracy, {better} is better in macro-F1"
        else:
            answer = "A and B are not distinguishable"
        test = f", McNemar {format_p(self.mcnemar_p)}"
        return f"{answer}: accuracy {accuracy.describe(test=test)}; macro-F1 {macro_f1.describe()}"


def compare_predictions(
    labels: Ints, predicted_a: Ints, predicted_b: Ints, *, n_resamples: int = 2000, seed: int = 0
) -> Significance:
    """Compare two models on the same rows.

    To draw rows with replacement is to draw the counts of the combinations of label and predictions from a
    multinomial distribution, so each resample costs as much as there are combinations, however many rows
    there are. Intervals are those of the percentiles (Efron and Tibshirani, An introduction to the
    bootstrap, 1993, chapter 13). Resamples are drawn from `with_pseudo_rows`.

    Args:
        labels: Class of each row, shape (n_rows,).
        predicted_a: Class that A predicts for each row, shape (n_rows,).
        predicted_b: Class that B predicts for each row, shape (n_rows,).
        n_resamples: Resamples of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The differences, B minus A. With A and B exchanged, exactly their negatives.

    Raises:
        ValueError: If there are no rows, or not as many of each.
    """
    n_rows = len(labels)
    if not n_rows or not n_rows == len(predicted_a) == len(predicted_b):
        raise ValueError(
            "Models must be compared on the same rows, at least one; found "
            f"{n_rows} labels, {len(predicted_a)} and {len(predicted_b)} predictions"
        )
    # One order of the two, so that the resamples do not depend on which is called A.
    other = np.flatnonzero(predicted_a != predicted_b)
    swapped = len(other) > 0 and predicted_a[other[0]] > predicted_b[other[0]]
    first, second = (predicted_b, predicted_a) if swapped else (predicted_a, predicted_b)
    table = pd.DataFrame({"label": labels, "a": first, "b": second}).value_counts().sort_index()
    cells, counts = np.array(table.index.to_list()), table.to_numpy().astype(float)
    resampled, weights = with_pseudo_rows(cells, counts)
    rng, block = np.random.default_rng(seed), max(1, _BLOCK // len(weights))
    drawn = [
        differences(resampled, rng.multinomial(n_rows, weights / weights.sum(), size=size).astype(float))
        for size in np.diff([*range(0, n_resamples, block), n_resamples])
    ]
    tail = (1 - CONFIDENCE) / 2
    ends = np.quantile(np.concatenate(drawn, axis=1), [tail, 1 - tail], axis=1)
    observed = differences(cells, counts[None])
    accuracy, macro_f1 = (
        Interval(difference=difference, low=low, high=high)
        for difference, low, high in np.concatenate([observed, ends.T], axis=1).tolist()
    )
    right_a, right_b = predicted_a == labels, predicted_b == labels
    n_only_a, n_only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return Significance(
        n_rows=n_rows,
        n_only_a=n_only_a,
        n_only_b=n_only_b,
        n_same=n_rows - len(other),
        accuracy=accuracy.negated() if swapped else accuracy,
        macro_f1=macro_f1.negated() if swapped else macro_f1,
        mcnemar_p=mcnemar(n_only_a, n_only_b),
    )


def with_pseudo_rows(cells: Ints, counts: Floats) -> tuple[Ints, Floats]:
    """Add one row that only A has right and one that only B has right, spread over labels and errors.

    So Bonett and Price (Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data, 2012) keep their interval from collapsing where few rows distinguish the two.

    Args:
        cells: Combinations of label, prediction of A and prediction of B, shape (M, 3).
        counts: Rows of each, shape (M,).
    """
    classes = np.unique(cells)
    pairs = [(label, wrong) for label in np.unique(cells[:, 0]) for wrong in classes if wrong != label]
    if not pairs:
        return cells, counts
    label, wrong = np.array(pairs).T
    weights = np.bincount(cells[:, 0], counts)[label] / counts.sum() / (len(classes) - 1)
    pseudo = [np.column_stack(columns) for columns in ((label, label, wrong), (label, wrong, label))]
    return np.concatenate([cells, *pseudo]), np.concatenate([counts, weights, weights])


def differences(cells: Ints, counts: Floats) -> Floats:
    """Measure B minus A for R counts of the same cells, shape (R, M): of accuracy and macro-F1, (2, R)."""
    label, a, b = cells.T
    accuracy = counts @ ((b == label).astype(float) - (a == label)) / counts.sum(axis=1)
    return np.stack([accuracy, _macro_f1(counts, label, b) - _macro_f1(counts, label, a)])


def _macro_f1(counts: Floats, label: Ints, predicted: Ints) -> Floats:
    """Average F1 over the classes that have rows or predictions, as `Scores.macro_f1` does."""
    classes = np.arange(max(label.max(), predicted.max()) + 1)
    is_label, is_predicted = ((values[:, None] == classes).astype(float) for values in (label, predicted))
    total = counts @ (is_label + is_predicted)
    right = counts @ (is_label * is_predicted)
    f1 = np.divide(2 * right, total, out=np.zeros_like(total), where=total > 0)
    mean: Floats = f1.sum(axis=1) / (total > 0).sum(axis=1)
    return mean


def mcnemar(n_only_a: int, n_only_b: int) -> float:
    """Test whether two models are right equally often, from the rows that only one of them has right.

    Returns:
        The two-sided p-value. Exact below `N_EXACT` such rows, by the binomial distribution; above by
        chi-square with continuity correction (McNemar, Note on the sampling error of the difference between
        correlated proportions, 1947; Edwards, 1948).

    Examples:
        >>> [round(mcnemar(*counts), 5) for counts in ((1, 5), (0, 0), (40, 70))]
        [0.21875, 1.0, 0.00569]
    """
    n = n_only_a + n_only_b
    if n < N_EXACT:
        return min(1.0, 2 * float(bdtr(min(n_only_a, n_only_b), n, 0.5)))
    return float(chdtrc(1, max(abs(n_only_a - n_only_b) - 1, 0) ** 2 / n))


def format_p(p: float) -> str:
    """Write a p-value.

    Examples:
        >>> format_p(0.0312), format_p(1.04e-7), format_p(0.0)
        ('p = 0.031', 'p = 1e-07', 'p < 1e-300')
    """
    if p < 1e-300:
        return "p < 1e-300"
    return f"p = {p:.2g}" if p >= 1e-4 else f"p = {p:.0e}"
