"""Regression: outputs are a number that was scaled, predictions are in the target's unit."""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from canopy.prepare.scaling import QuantileNormal, TargetScaling, unscale_target
from canopy.schema.tensors import Schema
from canopy.tasks.plots import draw_coverage, draw_residuals
from canopy.tasks.regression_scores import COVERAGE, Coverage, ErrorSums, RegressionScores, describe_coverage
from canopy.tasks.task import NO_METRICS, Floats, Labels, MetricMakers, Task, Weights


class Unscale(nn.Module):
    """From scaled numbers to the target's unit, any shape; the inverse of a `TargetScaling`."""

    def __init__(self, scaling: TargetScaling) -> None:
        super().__init__()
        self.kind = scaling.kind
        if isinstance(scaling, QuantileNormal):
            self.values, self.normals = _constant(scaling.values), _constant(scaling.normals)
            self.slope = _constant(scaling.slope)
        else:
            self.center, self.scale = _constant(scaling.center), _constant(scaling.scale)

    def clamp(self, scaled: Tensor) -> Tensor:
        """Keep predictions in the range of the training rows, where the scaling has quantiles of them."""
        if self.kind != "quantile_normal":
            return scaled
        return scaled.clamp(self.normals[0], self.normals[-1])

    def forward(self, scaled: Tensor) -> Tensor:
        if self.kind != "quantile_normal":
            found = scaled * self.scale + self.center
            return found.expm1() if self.kind == "log1p" else found
        found = self.clamp(scaled)
        # Of the quantiles below.
        if torch.compiler.is_compiling():
            # A search that exporters know.
            left = (found[..., None] >= self.normals[1:-1]).sum(dim=-1)
        else:
            left = torch.searchsorted(self.normals[1:-1], found.contiguous(), right=True)
        share = (found - self.normals[left]) / (self.normals[left + 1] - self.normals[left])
        inside = self.values[left].lerp(self.values[left + 1], share)
        return inside + (scaled - found) * self.slope


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
        self._center, end = self._unscale(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        self._unit = abs(end - self._center)

    def check_loss(self, loss: Callable[..., Tensor]) -> None:
        name = getattr(getattr(loss, "func", loss), "__name__", "")
        # Torch's takes numbers for the probabilities of classes.
        if name in ("cross_entropy", "focal_loss", "nll_loss", "multi_margin_loss"):
            raise ValueError(f"model.loss must be one of numbers, such as model/loss=huber; got {name}")

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
        unscale = self._unscale.to(device=exact.device, dtype=exact.dtype)
        found: Tensor = unscale(unscale.clamp(exact))
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
        return unscale_target(self.scaling, labels.astype(np.float64))

    def metric_inputs(self, predictions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        exact = labels.to(predictions.dtype)
        return predictions.squeeze(1), self._unscale.to(device=exact.device, dtype=exact.dtype)(exact)

    def build_metrics(
        self, further: MetricMakers = NO_METRICS, *, evaluation: bool = False
    ) -> MetricCollection:
        own: dict[str, Metric | MetricCollection] = {"errors": ErrorSums(self._center, self._unit)}
        if taken := {*own, "rmse", "mae", "r2", "mape", *ErrorSums.NAMES}.intersection(further):
            raise ValueError(f"model.metrics must have new names; got {', '.join(sorted(taken))}")
        return MetricCollection(
            {**own, **{name: make() for name, make in further.items()}}, compute_groups=False
        )

    def read_scores(self, computed: dict[str, Tensor]) -> RegressionScores:
        return RegressionScores.from_metrics(computed)

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
        errors, half_width = self._errors(predictions, labels), fitted["half_width"]
        covered = errors <= half_width
        groups = np.array_split(np.argsort(predictions[:, 0], kind="stable"), min(10, len(covered)))
        return Coverage(
            half_width=half_width,
            described=describe_coverage(covered, self.answer(predictions, fitted)),
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

    def score_answers(self, answers: Floats, values: NDArray[Any], weights: Weights = None) -> dict[str, Any]:
        covered = (answers[:, 1] <= values) & (values <= answers[:, 2])
        return describe_coverage(covered, answers)

    def read_predictions(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return columns["predicted"][:, None]

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
