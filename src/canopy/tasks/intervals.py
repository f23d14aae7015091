"""Confidence intervals of scores that have their coverage on small test sets and for perfect scores too."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

LEVEL = 0.95

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def wilson(n_right: Ints | int, n: Ints | int) -> tuple[Floats, Floats]:
    """Give the score interval of shares.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Args:
        n_right: Successes, any shape.
        n: Trials, at least 1, of the same shape.

    Returns:
        Lower and upper ends, of the same shape.

    Examples:
        >>> low, high = wilson(69, 69)
        >>> round(float(low), 4), float(high)
        (0.9473, 1.0)
    """
    z = ndtri((1 + LEVEL) / 2)
    share = np.asarray(n_right, float) / n
    middle = share + z**2 / (2 * np.asarray(n))
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * np.square(n, dtype=float)))
    scale = 1 + z**2 / np.asarray(n)
    # Exactly 0 and 1 where the estimate is.
    low = np.where(share == 0, 0.0, (middle - half) / scale)
    high = np.where(share == 1, 1.0, (middle + half) / scale)
    return low, high


def balanced_accuracy_interval(confusion: Ints) -> tuple[float, float]:
    """Combine the Wilson intervals of the classes' recalls, which are independent."""
    support = confusion.sum(axis=1)
    right, n = confusion.diagonal()[support > 0], support[support > 0]
    low, high = wilson(right, n)
    return _combine(right / n, low, high, np.eye(len(n)))


def macro_f1_interval(confusion: Ints) -> tuple[float, float]:
    """Combine intervals of the classes' F1.

    Of the rows that have a class or are predicted to, the share J that has both is binomial, and
    F1 = 2 J / (1 + J). An error counts against two classes, so that their F1 are correlated.

    Args:
        confusion: Rows by true and predicted class, shape (K, K).
    """
    seen = confusion.sum(axis=1) + confusion.sum(axis=0) > 0
    confusion = confusion[np.ix_(seen, seen)]
    right = confusion.diagonal()
    n = confusion.sum(axis=1) + confusion.sum(axis=0) - right
    estimate, low, high = (2 * share / (1 + share) for share in (right / n, *wilson(right, n)))
    return _combine(estimate, low, high, _f1_correlation(confusion))


def _combine(estimates: Floats, low: Floats, high: Floats, correlation: Floats) -> tuple[float, float]:
    """Give the interval of a mean from those of its parts (MOVER).

    Source: Zou, Huang and Zhang, A note on confidence interval estimation for a linear function of binomial
    proportions, 2009.

    Args:
        estimates: Parts, shape (K,).
        low: Lower ends of their intervals, shape (K,).
        high: Upper ends, shape (K,).
        correlation: Correlation of the estimates, shape (K, K).
    """
    mean = float(estimates.mean())
    below, above = (estimates - low) / len(estimates), (high - estimates) / len(estimates)
    return (
        mean - float(np.sqrt(below @ correlation @ below)),
        mean + float(np.sqrt(above @ correlation @ above)),
    )


def _f1_correlation(confusion: Ints) -> Floats:
    """Estimate how the classes' F1 vary together, by the delta method, shape (K, K).

    Half an error is added to each class with rows: without one, nothing would be known of it.
    """
    k = len(confusion)
    is_class = np.eye(k)
    added = 0.5 * (1 - is_class) * (confusion.sum(axis=1) > 0)[:, None] / max(1, k - 1)
    shares = (confusion + added) / (confusion + added).sum()
    total = shares.sum(axis=1) + shares.sum(axis=0)
    f1 = 2 * shares.diagonal() / total
    # What a row of a cell adds to each F1, shape (K, K, K).
    true, predicted = is_class[:, :, None], is_class[:, None, :]
    influence = (2 * true * predicted - f1[:, None, None] * (true + predicted)) / total[:, None, None]
    covariance = np.einsum("iab,jab,ab->ij", influence, influence, shares, optimize=True)
    deviation = np.sqrt(np.maximum(covariance.diagonal(), np.finfo(float).tiny))
    correlation: Floats = np.clip(covariance / np.outer(deviation, deviation), 0, 1)
    return correlation
