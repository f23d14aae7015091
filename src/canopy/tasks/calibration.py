"""Whether a model is right as often as its probabilities say."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from canopy.tasks.scores import N_CALIBRATION_BINS

# Of each row, shape (n_rows,); None where all count alike.
Weights = NDArray[Any] | None
# Bounds of the search; a classifier beyond them has learnt nothing that a temperature could save.
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How confident predictions are and how often they are right, by bins of the confidence, NaN if empty.

    `counts` are the rows of each bin or, where rows have weights, the sum of these.
    """

    counts: NDArray[Any]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    nll: float

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy, weighted by rows."""
        return float(np.nansum(np.abs(self.accuracy - self.confidence) * self.counts) / self.counts.sum())


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The reliability of a split's predictions, before and after they are divided by a temperature."""

    temperature: float
    before: Reliability
    after: Reliability

    def report(self) -> dict[str, float]:
        """Give the numbers of `metrics.json`."""
        return {"temperature": self.temperature, "nll": self.after.nll, "ece": self.after.ece}


def apply_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Give log-probabilities, shape (n_rows, K), with a temperature; above 1 they are less confident."""
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return np.asarray(log_softmax(logits / temperature, axis=1))


def fit_temperature(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: Weights = None
) -> float:
    """Find the most probable temperature for predictions, shape (n_rows, K), of rows not trained on.

    Its logarithm has a standard normal prior: few rows, or rows all predicted right, move it less far from 1.
    Rows with weights, (n_rows,), are as many as `effective_rows`.
    Source: Guo et al., On calibration of modern neural networks, 2017.
    """
    n_rows = len(labels) if weights is None else effective_rows(weights)

    def loss(log_temperature: float) -> float:
        nll = _nll(apply_temperature(probabilities, float(np.exp(log_temperature))), labels, weights)
        return nll + log_temperature**2 / (2 * n_rows)

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def effective_rows(weights: NDArray[Any]) -> float:
    """Give how many rows of equal weight would be as precise: (sum of weights)² / sum of their squares.

    Source: Kish, Survey sampling, 1965.
    """
    return float(weights.sum(dtype=np.float64) ** 2 / np.square(weights, dtype=np.float64).sum())


def calibrate(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    weights: Weights = None,
    *,
    temperature: float,
) -> Calibration:
    """Measure the reliability of predictions, without and with a temperature."""
    found = [
        measure_reliability(apply_temperature(probabilities, t), labels, weights) for t in (1.0, temperature)
    ]
    return Calibration(temperature=temperature, before=found[0], after=found[1])


def calibration_bins(confidence: NDArray[Any], n_bins: int) -> NDArray[np.int64]:
    """Give the bin of each row, of equal width, by the probability of its likeliest class, (n_rows,)."""
    return np.asarray(np.minimum((confidence * n_bins).astype(int), n_bins - 1))


def measure_reliability(
    log_probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: Weights = None
) -> Reliability:
    """Compare how confident predictions, shape (n_rows, K), are with how often they are right."""
    confidence = np.exp(log_probabilities.max(axis=1))
    right = log_probabilities.argmax(axis=1) == labels
    bins = calibration_bins(confidence, N_CALIBRATION_BINS)
    counts = np.bincount(bins, weights, N_CALIBRATION_BINS)
    scale = 1 if weights is None else weights
    with np.errstate(invalid="ignore"):
        return Reliability(
            counts=counts,
            confidence=np.bincount(bins, confidence * scale, N_CALIBRATION_BINS) / counts,
            accuracy=np.bincount(bins, right * scale, N_CALIBRATION_BINS) / counts,
            nll=_nll(log_probabilities, labels, weights),
        )


def _nll(log_probabilities: NDArray[np.float64], labels: NDArray[np.int64], weights: Weights = None) -> float:
    given = np.take_along_axis(log_probabilities, labels[:, None], axis=1)
    return float(-given.mean() if weights is None else -np.average(given[:, 0], weights=weights))
