"""Whether two models differ on the same rows: paired intervals, McNemar's test, the answer in a sentence."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import bdtr

from canopy.text_tables import decimals_for_error

CONFIDENCE = 0.95
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
    def better(self) -> str:
        """`A` or `B` if one is surely higher, else nothing."""
        return "B" if self.low > 0 else "A" if self.high < 0 else ""

    def __str__(self) -> str:
        half = (self.high - self.low) / 2
        n = decimals_for_error(max(1.0, half), half)
        texts = [f"{value:+.{n}f}" for value in (self.difference, self.low, self.high)]
        return "{} (95 % interval {} to {})".format(*texts)


@dataclass(frozen=True, kw_only=True)
class Significance:
    """How two models differ on the same rows: counts of rows, and differences of scores, B minus A."""

    n_rows: int
    n_only_a: int  # right in A alone
    n_only_b: int
    n_same: int  # of which both predict the same class
    accuracy: Interval
    macro_f1: Interval
    mcnemar_p: float

    def rows(self) -> str:
        """Count the rows in which A and B differ."""
        return (
            f"Another class predicted in {self.n_rows - self.n_same:,} rows; "
            f"right in A alone {self.n_only_a:,}, in B alone {self.n_only_b:,}"
        )

    def verdict(self) -> str:
        """Answer whether A or B is better, with the differences, B minus A."""
        # Both have to agree, so that the approximation of neither decides alone.
        accuracy = self.accuracy.better if self.mcnemar_p < 1 - CONFIDENCE else ""
        macro_f1 = self.macro_f1.better
        if accuracy and macro_f1 not in ("", accuracy):
            answer = f"{accuracy} is better in accuracy and {macro_f1} in macro-F1"
        elif accuracy:
            answer = f"{accuracy} is better than {'A' if accuracy == 'B' else 'B'}"
        else:
            answer = "A and B are not distinguishable"
            answer += f" in accuracy, {macro_f1} is better in macro-F1" if macro_f1 else ""
        return (
            f"{answer}; B - A: accuracy {self.accuracy}, McNemar p = {self.mcnemar_p:.2g}; "
            f"macro-F1 {self.macro_f1}"
        )


@dataclass(frozen=True, kw_only=True)
class NumberSignificance:
    """How two regressions differ on the same rows: counts of rows, and differences of errors, B minus A."""

    n_rows: int
    n_nearer_a: int  # where A is nearer to the label than B
    n_nearer_b: int
    rmse: Interval
    mae: Interval

    def rows(self) -> str:
        """Count the rows in which A or B is nearer to the label."""
        return (
            f"Nearer to the label: A in {self.n_nearer_a:,} of {self.n_rows:,} rows, B in {self.n_nearer_b:,}"
        )

    def verdict(self) -> str:
        """Answer whether A or B is better, with the differences, B minus A."""
        # Less is better here.
        rmse, mae = ({"A": "B", "B": "A", "": ""}[found.better] for found in (self.rmse, self.mae))
        if rmse and mae not in ("", rmse):
            answer = f"{rmse} is better in RMSE and {mae} in MAE"
        elif rmse:
            answer = f"{rmse} is better than {'A' if rmse == 'B' else 'B'}"
        else:
            answer = "A and B are not distinguishable" + (f" in RMSE, {mae} is better in MAE" if mae else "")
        return f"{answer}; B - A: RMSE {self.rmse}, MAE {self.mae}"


def compare_numbers(labels: Floats, predicted_a: Floats, predicted_b: Floats) -> NumberSignificance:
    """Compare two models by their numbers for the same rows, each of shape (n_rows,).

    The intervals are normal ones of paired differences, that of the RMSE by the delta method.
    """
    # Here, since most tables have classes.
    from scipy.special import ndtri

    errors_a, errors_b = np.abs(predicted_a - labels), np.abs(predicted_b - labels)
    rmse_a, rmse_b = (float(np.sqrt((errors**2).mean())) for errors in (errors_a, errors_b))
    tiny = np.finfo(np.float64).tiny
    parts = (
        (rmse_b - rmse_a, errors_b**2 / max(2 * rmse_b, tiny) - errors_a**2 / max(2 * rmse_a, tiny)),
        (float(errors_b.mean() - errors_a.mean()), errors_b - errors_a),
    )
    z = float(ndtri((1 + CONFIDENCE) / 2)) / np.sqrt(len(labels))
    halves = [z * float(influence.std(ddof=min(1, len(labels) - 1))) for _, influence in parts]
    rmse, mae = (
        Interval(difference=difference, low=difference - half, high=difference + half)
        for (difference, _), half in zip(parts, halves, strict=True)
    )
    return NumberSignificance(
        n_rows=len(labels),
        n_nearer_a=int((errors_a < errors_b).sum()),
        n_nearer_b=int((errors_b < errors_a).sum()),
        rmse=rmse,
        mae=mae,
    )


def compare_predictions(
    labels: Ints, predicted_a: Ints, predicted_b: Ints, *, n_resamples: int = 2000, seed: int = 0
) -> Significance:
    """Compare two models by their classes for the same rows, each of shape (n_rows,).

    To draw rows with replacement is to draw the counts of the combinations of label and predictions from a
    multinomial distribution, so each resample costs as much as there are combinations, however many rows
    there are. Intervals are those of the percentiles (Efron and Tibshirani, An introduction to the
    bootstrap, 1993, chapter 13). Resamples are drawn from `with_pseudo_rows`.
    """
    n_rows = len(labels)
    # One order of the two: with A and B exchanged, the differences are exactly negated.
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
    found = np.concatenate([differences(cells, counts[None]), ends.T], axis=1) * (-1 if swapped else 1)
    accuracy, macro_f1 = (
        Interval(difference=difference + 0.0, low=min(interval) + 0.0, high=max(interval) + 0.0)
        for difference, *interval in found.tolist()
    )
    right_a, right_b = predicted_a == labels, predicted_b == labels
    n_only_a, n_only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return Significance(
        n_rows=n_rows,
        n_only_a=n_only_a,
        n_only_b=n_only_b,
        n_same=n_rows - len(other),
        accuracy=accuracy,
        macro_f1=macro_f1,
        mcnemar_p=mcnemar(n_only_a, n_only_b),
    )


def with_pseudo_rows(cells: Ints, counts: Floats) -> tuple[Ints, Floats]:
    """Add one row that only A has right and one that only B has right, spread over labels and errors.

    So Bonett and Price (Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data, 2012) keep their interval from collapsing where few rows distinguish the two. `cells` are
    combinations of label, prediction of A and prediction of B, shape (M, 3), `counts` the rows of each, (M,).
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
    return np.asarray(f1.sum(axis=1) / (total > 0).sum(axis=1))


def mcnemar(n_only_a: int, n_only_b: int) -> float:
    """Give the two-sided p-value of two models being right equally often, by the binomial distribution.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions, 1947.
    """
    return min(1.0, 2 * float(bdtr(min(n_only_a, n_only_b), n_only_a + n_only_b, 0.5)))
