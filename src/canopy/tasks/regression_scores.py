"""Scores of predicted numbers, with intervals, and how many rows prediction intervals cover."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from canopy.tasks.task import LEVEL, Floats

# Share of rows that prediction intervals are made to cover.
COVERAGE = 0.9


class ErrorSums(Metric):
    """Sums over rows, by weight, that the scores of a regression and their intervals are computed from.

    `center` is a number near the labels, from which they are measured: squares of large numbers would cancel;
    `unit` is about how far they are from it.
    """

    # Of errors: their squares, fourth powers, sizes, and sizes relative to the label; of labels: how many are
    # 0, their distances from the center and the squares of these; last, rows and squares of weights.
    NAMES = (
        *("n", "squares", "fourths", "absolute", "relative", "n_zero", "labels", "label_squares"),
        *("n_rows", "weight_squares"),
    )
    totals: Tensor

    def __init__(self, center: float, unit: float) -> None:
        super().__init__()
        self._center, self._unit = center, unit
        kind = torch.float64
        self.add_state("totals", torch.zeros(len(self.NAMES), dtype=kind), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor, weights: Tensor | None = None) -> None:
        # Labels were scaled to single precision.
        error, is_zero = predictions - labels, labels.abs() <= 1e-6 * self._unit
        relative = (error / labels.where(~is_zero, 1.0)).abs().where(~is_zero, 0.0)
        squares, distance = error.square(), labels - self._center
        ones = torch.ones_like(error)
        weighted: tuple[Tensor, ...] = (ones, squares, squares.square(), error.abs(), relative, is_zero)
        weighted += distance, distance.square()
        if weights is not None:
            weighted = tuple(part * weights for part in weighted)
        parts = (*weighted, ones, ones if weights is None else weights.to(error).square())
        sums = torch.stack([part.sum().to(error) for part in parts])
        self.totals += sums.to(self.totals)

    def compute(self) -> dict[str, Tensor]:
        return dict(zip(self.NAMES, self.totals, strict=True))


@dataclass(frozen=True, kw_only=True)
class RegressionScores:
    """Scores of predicted numbers, in the target's unit.

    `r2` is the share of the labels' variance that is explained, NaN if they have none; `mape` the mean of
    errors relative to the label, None where one is 0; `further` are metrics that the config adds.
    """

    n_rows: int
    rmse: float
    mae: float
    r2: float
    mape: float | None
    intervals: dict[str, list[float]]
    further: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_metrics(cls, computed: dict[str, Tensor]) -> "RegressionScores":
        """Take over what `ErrorSums` and the metrics of a config computed."""
        found = {name: float(value) for name, value in computed.items()}
        sums = {name: found.pop(name) for name in ErrorSums.NAMES}
        if not sums["n"]:
            raise ValueError("At least one row to score must have a weight above 0; got none")
        n, mse, mae = sums["n"], sums["squares"] / sums["n"], sums["absolute"] / sums["n"]
        # Here, since it takes time to import.
        from scipy.special import ndtri

        # Rows with weights are as many as `canopy.tasks.calibration.effective_rows`.
        n_effective = n / (sums["weight_squares"] / n)
        z = float(ndtri((1 + LEVEL) / 2)) / math.sqrt(max(n_effective - 1, 1))
        half = z * math.sqrt(max(sums["fourths"] / n - mse**2, 0))
        ends = [math.sqrt(max(mse - half, 0)), math.sqrt(mse + half)]
        half = z * math.sqrt(max(mse - mae**2, 0))
        variance = max(sums["label_squares"] / n - (sums["labels"] / n) ** 2, 0)
        return cls(
            n_rows=round(sums["n_rows"]),
            rmse=math.sqrt(mse),
            mae=mae,
            r2=1 - mse / variance if variance else math.nan,
            mape=None if sums["n_zero"] else sums["relative"] / n,
            intervals={"rmse": ends, "mae": [max(mae - half, 0), mae + half]},
            further=found,
        )

    def summary(self) -> dict[str, float]:
        r2 = {"r2": self.r2} if math.isfinite(self.r2) else {}
        return {"rmse": self.rmse, "mae": self.mae, **r2, **self.further}

    def report(self) -> dict[str, Any]:
        mape = {} if self.mape is None else {"mape": self.mape}
        numbers = {name: value for name, value in {**self.summary(), **mape}.items() if math.isfinite(value)}
        return {**numbers, "intervals": self.intervals, "n_rows": self.n_rows}


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Prediction intervals of a split: how many labels are in them, and how wide they are.

    Attributes:
        half_width: Of each interval, in scaled numbers.
        described: The share of the rows that are covered, with its interval, and the mean width in the unit.
        places: Mean prediction of each of at most ten groups of rows, in ascending order.
        covered: Share of the rows of each group that are covered.
    """

    half_width: float
    described: dict[str, Any]
    places: Floats
    covered: Floats

    def report(self) -> dict[str, Any]:
        return {"half_width": self.half_width, **self.described}


def describe_coverage(covered: NDArray[np.bool_], answers: Floats) -> dict[str, Any]:
    """Report the share of rows that are covered, (n_rows,), with its interval, and the width of answers."""
    # Here, since it takes time to import.
    from scipy.stats import binomtest

    interval = binomtest(int(covered.sum()), len(covered)).proportion_ci(LEVEL, method="wilson")
    return {
        "level": COVERAGE,
        "coverage": float(covered.mean()),
        "coverage_interval": [float(interval.low), float(interval.high)],
        "mean_width": float((answers[:, 2] - answers[:, 1]).mean()),
    }
