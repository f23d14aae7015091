"""Calibrate predictions by the validation rows, and draw them."""

from pathlib import Path

from torch import Tensor

from canopy.tasks.decision import Decider
from canopy.tasks.task import TaskCalibration
from canopy.training.callbacks.figures import log_figure
from canopy.training.callbacks.whole_split import WholeSplit


class CalibrationReport(WholeSplit):
    """Fit what the task calibrates on the validation rows, and draw how good it is.

    Attributes:
        fitted: As fitted; None before a validation.
        splits: Calibration of each split that went through since.
        decider: Takes the calibrated probabilities of the positive class; None without a threshold.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.fitted: dict[str, float] | None = None
        self.splits: dict[str, TaskCalibration] = {}
        self.decider: Decider | None = None

    def finish(
        self, split: str, *, predictions: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> None:
        predicted, true = predictions.double().numpy(), labels.numpy()
        own = None if weights is None else weights.numpy()
        if split == "val":
            self.fitted = self.task.fit_calibration(predicted, true, own)
        if self.fitted is not None:
            found = self.splits[split] = self.task.calibrate(predicted, true, self.fitted, own)
            figure = self.task.draw_calibration(found, title=f"{split}, {len(true):,} rows")
            log_figure(self.trainer, f"calibration/{split}", figure, Path(self.path.format(split=split)))
            if self.decider is not None:
                answers = self.task.answer(predicted, self.fitted)[:, 1]
                self.decider.score(split, answers, true, weights=own)


class PredictionPlots(WholeSplit):
    """Draw the plots of the task, of all rows alike: `{name}` in `path` is replaced by the name of each."""

    def finish(
        self, split: str, *, predictions: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> None:
        title = f"{split}, {len(labels):,} rows"
        found = self.task.draw(predictions.double().numpy(), labels.numpy(), title=title)
        for name, figure in found.items():
            path = Path(self.path.format(split=split, name=name))
            log_figure(self.trainer, f"{name}/{split}", figure, path)
