"""Whether a model is right as often as its probabilities say."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from canopy.tasks.metrics import N_CALIBRATION_BINS

# Bounds of the search for a temperature; a classifier beyond them has learnt nothing that it could save.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How confident predictions are and how often they are right, over bins of equal width of the confidence.

    Attributes:
        counts: Rows of each bin, shape (N_CALIBRATION_BINS,).
        confidence: Mean probability of the predicted class in each bin, NaN in an empty one.
        accuracy: Share of a bin's rows that are right, NaN in an empty one.
        nll: Mean negative log-likelihood of all rows, in nats.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    nll: float

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy, weighted by rows."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(gaps * self.counts) / self.counts.sum())


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The reliability of a split's predictions.

    Attributes:
        temperature: What the log-probabilities are divided by; above 1 it makes predictions less confident.
        before: Of the predictions as they are.
        after: Of the predictions with the temperature.
    """

    temperature: float
    before: Reliability
    after: Reliability

    def report(self) -> dict[str, Any]:
        """Give the numbers of `metrics.json`."""
        return {"temperature": self.temperature, "nll": self.after.nll, "ece": self.after.ece}


def apply_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Give log-probabilities with a temperature.

    Args:
        probabilities: Shape (n_rows, K).
        temperature: Above 0.

    Returns:
        Shape (n_rows, K).

    Examples:
        >>> np.exp(apply_temperature(np.array([[0.8, 0.2]]), 2.0)).round(3)
        array([[0.667, 0.333]])
    """
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    found: NDArray[np.float64] = log_softmax(logits / temperature, axis=1)
    return found


def fit_temperature(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Find the most probable temperature, its logarithm taken to be of a standard normal distribution.

    Where there are many rows, it is the one with the lowest negative log-likelihood. A few rows, or rows that
    are all predicted right, move it less far from 1.

    Source: Guo et al., On calibration of modern neural networks, 2017.

    Args:
        probabilities: Of rows that the model was not trained on, shape (n_rows, K).
        labels: Their true classes, shape (n_rows,).

    Returns:
        A number between `MIN_TEMPERATURE` and `MAX_TEMPERATURE`.
    """

    def loss(log_temperature: float) -> float:
        nll = _nll(apply_temperature(probabilities, float(np.exp(log_temperature))), labels)
        return nll + log_temperature**2 / (2 * len(labels))

    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def calibrate(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], *, temperature: float
) -> Calibration:
    """Measure the reliability of predictions, without and with a temperature."""
    return Calibration(
        temperature=temperature,
        before=measure_reliability(apply_temperature(probabilities, 1.0), labels),
        after=measure_reliability(apply_temperature(probabilities, temperature), labels),
    )


def measure_reliability(log_probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Reliability:
    """Compare how confident predictions, shape (n_rows, K), are with how often they are right."""
    confidence = np.exp(log_probabilities.max(axis=1))
    right = log_probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * N_CALIBRATION_BINS).astype(int), N_CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=N_CALIBRATION_BINS)
    with np.errstate(invalid="ignore"):
        return Reliability(
            counts=counts,
            confidence=np.bincount(bins, confidence, N_CALIBRATION_BINS) / counts,
            accuracy=np.bincount(bins, right, N_CALIBRATION_BINS) / counts,
            nll=_nll(log_probabilities, labels),
        )


def _nll(log_probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    return float(-np.take_along_axis(log_probabilities, labels[:, None], axis=1).mean())
