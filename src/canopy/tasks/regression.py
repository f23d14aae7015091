"""Regression: outputs are a number that was scaled, predictions are in the target's unit."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from canopy.prepare.scaling import QuantileNormal, TargetScaling
from canopy.schema.tensors import Schema
from canopy.tasks.plots import draw_coverage, draw_residuals
from canopy.tasks.task import LEVEL, NO_METRICS, Floats, Labels, MetricMakers, Task, Weights

# Share of rows that prediction intervals are made to cover.
COVERAGE = 0.9


class Unscale(nn.Module):
    """From scaled numbers to the target's unit, any shape; the inverse of a `TargetScaling`."""

    def __init__(self, scaling: TargetScaling) -> None:
        super().__init__()
        self.kind = scaling.kind
        if isinstance(scaling, QuantileNormal):
            self.values, self.normals = _constant(scaling.values), _constant(scaling.normals)
        else:
            self.center, self.scale = _constant(scaling.center), _constant(scaling.scale)

    def clamp(self, scaled: Tensor) -> Tensor:
        """Keep numbers in the range that has an inverse: for quantiles, that of the training rows."""
        if self.kind != "quantile_normal":
            return scaled
        return scaled.clamp(self.normals[0], self.normals[-1])

    def forward(self, scaled: Tensor) -> Tensor:
        if self.kind != "quantile_normal":
            found = scaled * self.scale + self.center
            return found.expm1() if self.kind == "log1p" else found
        found = self.clamp(scaled)
        # Of the quantiles below; a search that exporters know.
        left = (found[..., None] >= self.normals[1:-1]).sum(dim=-1)
        share = (found - self.normals[left]) / (self.normals[left + 1] - self.normals[left])
        return self.values[left].lerp(self.values[left + 1], share)


def _constant(values: Any) -> Tensor:
    return nn.Buffer(torch.tensor(values, dtype=torch.float64))


class PredictionInterval(nn.Module):
    """From outputs, (B, 1), to the prediction and both ends of its interval, (B, 3), in double precision."""

    def __init__(self, unscale: Unscale, *, half_width: float) -> None:
        super().__init__()
        self.unscale = unscale
        self.steps = _constant([0.0, -half_width, half_width])

    def forward(self, outputs: Tensor) -> Tensor:
        found: Tensor = self.unscale(self.unscale.clamp(outputs.double()) + self.steps)
        return found


class ErrorSums(Metric):
    """Sums over rows, by weight, that the scores of a regression and their intervals are computed from.

    `center` is a number near the labels, from which they are measured: squares of large numbers would cancel.
    """

    # Of errors: their squares, fourth powers, sizes, and sizes relative to the label; of labels: how many are
    # 0, their distances from the center and the squares of these; last, rows and squares of weights.
    NAMES = (
        *("n", "squares", "fourths", "absolute", "relative", "n_zero", "labels", "label_squares"),
        *("n_rows", "weight_squares"),
    )
    totals: Tensor

    def __init__(self, center: float) -> None:
        super().__init__()
        self._center = center
        kind = torch.float64
        self.add_state("totals", torch.zeros(len(self.NAMES), dtype=kind), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor, weights: Tensor | None = None) -> None:
        error, is_zero = predictions - labels, labels == 0
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

    def summary(self) -> dict[str, float]:
        return {"rmse": self.rmse, "mae": self.mae, "r2": self.r2, **self.further}

    def report(self) -> dict[str, Any]:
        mape = {} if self.mape is None else {"mape": self.mape}
        numbers = {name: value for name, value in {**self.summary(), **mape}.items() if math.isfinite(value)}
        return {**numbers, "intervals": self.intervals, "n_rows": self.n_rows}


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Prediction intervals of a split: how many labels are in them, and how wide they are.

    Attributes:
        half_width: Of each interval, in scaled numbers.
        coverage: Share of the rows that are covered, `coverage_interval` the interval of it.
        mean_width: In the target's unit.
        places: Mean prediction of each of at most ten groups of rows, in ascending order.
        covered: Share of the rows of each group that are covered.
    """

    half_width: float
    coverage: float
    coverage_interval: list[float]
    mean_width: float
    places: Floats
    covered: Floats

    def report(self) -> dict[str, Any]:
        return {
            "level": COVERAGE,
            "half_width": self.half_width,
            "coverage": self.coverage,
            "coverage_interval": self.coverage_interval,
            "mean_width": self.mean_width,
        }


class Regression(Task):
    """A number: predicted with squared error, with intervals by split conformal prediction."""

    kind = "regression"
    n_outputs = 1
    loss: Callable[..., Tensor] = staticmethod(F.mse_loss)
    headline: ClassVar[tuple[str, ...]] = ("rmse", "mae", "r2")
    finite = "rmse"
    mean_scores: ClassVar[tuple[tuple[str, str], tuple[str, str]]] = (
        ("mae", "mae_increase"),
        ("mse", "mse_increase"),
    )
    reproducible: ClassVar[tuple[str, ...]] = ("rmse", "coverage")

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema)
        self.scaling: TargetScaling = TypeAdapter(TargetScaling).validate_python(schema.target_scaling)
        self._unscale = Unscale(self.scaling)
        self._center = float(self._unscale(torch.zeros(1, dtype=torch.float64)))

    def class_weights(self, config: str | Mapping[Any, float] | None, *, counts_of: str) -> None:
        if config not in (None, "none"):
            raise ValueError(f"model.class_weights must be none for a numeric target; got {config!r}")

    def as_loss_inputs(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(1)

    def average(self, outputs: Tensor, weights: Tensor | None) -> Tensor:
        return outputs.mean(dim=1) if weights is None else (outputs * weights[:, None]).sum(dim=1)

    def predict(self, outputs: Tensor) -> Tensor:
        # Apple's GPU lacks double precision.
        exact = outputs if outputs.device.type == "mps" else outputs.double()
        found: Tensor = self._unscale.to(device=exact.device, dtype=exact.dtype)(exact)
        return found

    def prediction_columns(self, predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"label": self.true_values(labels), "predicted": predictions[:, 0]}

    def likelihoods(self, members: Tensor, labels: Tensor) -> Tensor:
        """Give the density of normally distributed errors, as far as it depends on them; see `temper`."""
        error = (members.mean(dim=1).squeeze(1) - labels).cpu().double()
        return (-error.square() / 2).exp()

    def temper(self, likelihoods: Tensor, rows: Tensor | None = None) -> Tensor:
        tiny = torch.finfo(likelihoods.dtype).tiny
        squares = -2 * likelihoods.clamp_min(tiny).log()
        means = squares.mean(dim=0) if rows is None else rows @ squares / rows.sum()
        return likelihoods ** (1 / means.min().clamp_min(1e-12))

    def true_values(self, labels: NDArray[Any]) -> Floats:
        return self.scaling.invert(labels[:, None].astype(np.float64))

    def metric_inputs(self, predictions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return predictions.squeeze(1), self.predict(labels)

    def build_metrics(
        self, further: MetricMakers = NO_METRICS, *, evaluation: bool = False
    ) -> MetricCollection:
        own: dict[str, Metric | MetricCollection] = {"errors": ErrorSums(self._center)}
        if taken := {*own, "rmse", "mae", "r2", "mape", *ErrorSums.NAMES}.intersection(further):
            raise ValueError(f"model.metrics must have new names; got {', '.join(sorted(taken))}")
        return MetricCollection(
            {**own, **{name: make() for name, make in further.items()}}, compute_groups=False
        )

    def read_scores(self, computed: dict[str, Tensor]) -> RegressionScores:
        found = {name: float(value) for name, value in computed.items()}
        sums = {name: found.pop(name) for name in ErrorSums.NAMES}
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
        return RegressionScores(
            n_rows=round(sums["n_rows"]),
            rmse=math.sqrt(mse),
            mae=mae,
            r2=1 - mse / variance if variance else math.nan,
            mape=None if sums["n_zero"] else sums["relative"] / n,
            intervals={"rmse": ends, "mae": [max(mae - half, 0), mae + half]},
            further=found,
        )

    def metric_names(self, further: MetricMakers = NO_METRICS) -> list[str]:
        return ["rmse", "mae", "r2", *map(str, further)]

    def fit_calibration(
        self, predictions: Floats, labels: Labels, weights: Weights = None
    ) -> dict[str, float]:
        """Find the half width of intervals, in scaled numbers, that cover new rows with `COVERAGE`.

        All rows count alike, whatever their weights, as in `calibrate`.

        Source: Papadopoulos et al., Inductive confidence machines for regression, 2002; Lei et al.,
        Distribution-free predictive inference for regression, 2018.
        """
        return {"half_width": _conformal_quantile(self._errors(predictions, labels), COVERAGE)}

    def read_calibration(self, report: Mapping[str, Any]) -> dict[str, float]:
        return {"half_width": float(report["half_width"])}

    def calibrate(
        self, predictions: Floats, labels: Labels, fitted: Mapping[str, float], weights: Weights = None
    ) -> Coverage:
        # Here, since it takes time to import.
        from scipy.stats import binomtest

        errors, half_width = self._errors(predictions, labels), fitted["half_width"]
        covered = errors <= half_width
        ends = self.answer(predictions, fitted)
        interval = binomtest(int(covered.sum()), len(covered)).proportion_ci(LEVEL, method="wilson")
        groups = np.array_split(np.argsort(predictions[:, 0], kind="stable"), min(10, len(covered)))
        return Coverage(
            half_width=half_width,
            coverage=float(covered.mean()),
            coverage_interval=[float(interval.low), float(interval.high)],
            mean_width=float((ends[:, 2] - ends[:, 1]).mean()),
            places=np.array([predictions[rows, 0].mean() for rows in groups]),
            covered=np.array([covered[rows].mean() for rows in groups]),
        )

    def answer(self, predictions: Floats, fitted: Mapping[str, float]) -> Floats:
        """Give the prediction and both ends of its interval."""
        module = PredictionInterval(self._unscale.double().cpu(), half_width=fitted["half_width"])
        with torch.no_grad():
            found = module(torch.from_numpy(self.scaling.apply(predictions[:, :1])[0])).numpy()
        return np.asarray(found)

    def answer_module(self, fitted: Mapping[str, float]) -> nn.Module:
        return PredictionInterval(Unscale(self.scaling), half_width=fitted["half_width"])

    def difference(self, expected: Floats, found: NDArray[Any]) -> float:
        """Give it relative to the size of a number or the spread of them all, if that is larger."""
        size = np.maximum(np.abs(expected), expected[:, 0].std())
        return float((np.abs(expected - found) / np.maximum(size, np.finfo(np.float32).tiny)).max())

    def calibrated_report(
        self, answers: Floats, labels: Labels, fitted: Mapping[str, float], weights: Weights = None
    ) -> dict[str, Any]:
        return self.calibrate(answers[:, :1], labels, fitted).report()

    def row_losses(self, predictions: NDArray[Any], labels: NDArray[Any]) -> Floats:
        """Give the size of the error and its square."""
        error = predictions[:, 0] - self.true_values(labels)
        return np.stack([np.abs(error), error**2])

    def describe_mistake(self, true: Any, predicted: Any, loss: float) -> dict[str, Any]:
        return {"true": float(true), "predicted": float(predicted), "error": float(predicted - true)}

    def draw(self, predictions: Floats, labels: NDArray[Any], *, title: str) -> dict[str, Figure]:
        return {"residuals": draw_residuals(predictions[:, 0], self.true_values(labels), title=title)}

    def draw_calibration(self, calibration: Any, *, title: str) -> Figure:
        return draw_coverage(calibration, level=COVERAGE, title=title)

    def _errors(self, predictions: Floats, labels: NDArray[Any]) -> Floats:
        """Give the sizes of errors in scaled numbers, shape (n_rows,)."""
        return np.asarray(np.abs(self.scaling.apply(predictions[:, 0])[0] - labels))


def _conformal_quantile(errors: Floats, level: float) -> float:
    """Give the smallest error that at least a share `level` of n + 1 rows would not exceed."""
    rank = min(math.ceil((len(errors) + 1) * level), len(errors))
    return float(np.partition(errors, rank - 1)[rank - 1])
