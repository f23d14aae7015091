"""Whether a model is right as often as its probabilities say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from canopy.tasks.scores import N_CALIBRATION_BINS

# Bounds of the search; a classifier beyond them has learnt nothing that a temperature could save.
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How confident predictions are and how often they are right, by bins of the confidence, NaN if empty."""

    counts: NDArray[np.int64]
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


def fit_temperature(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Find the most probable temperature for predictions, shape (n_rows, K), of rows not trained on.

    Its logarithm has a standard normal prior: few rows, or rows all predicted right, move it less far from 1.
    Source: Guo et al., On calibration of modern neural networks, 2017.
    """

    def loss(log_temperature: float) -> float:
        nll = _nll(apply_temperature(probabilities, float(np.exp(log_temperature))), labels)
        return nll + log_temperature**2 / (2 * len(labels))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def calibrate(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], *, temperature: float
) -> Calibration:
    """Measure the reliability of predictions, without and with a temperature."""
    found = [measure_reliability(apply_temperature(probabilities, t), labels) for t in (1.0, temperature)]
    return Calibration(temperature=temperature, before=found[0], after=found[1])


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
