"""Calibrate probabilities by the validation rows; plot how reliable they are and how they order rows."""

from pathlib import Path

from lightning import LightningModule, Trainer
from torch import Tensor

from canopy.tasks.calibration import Calibration, calibrate, fit_temperature
from canopy.tasks.plots import draw_curves, draw_reliability
from canopy.training.callbacks.confusion_matrix import save_figure
from canopy.training.callbacks.whole_split import WholeSplit


class CalibrationReport(WholeSplit):
    """Fit a temperature on the validation rows, and draw reliability diagrams with and without it.

    Attributes:
        temperature: As fitted; None before a validation.
        splits: Calibration of each split that went through since.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.temperature: float | None = None
        self.splits: dict[str, Calibration] = {}

    def finish(self, split: str, *, probabilities: Tensor, labels: Tensor) -> None:
        predicted, true = probabilities.double().numpy(), labels.numpy()
        if split == "val":
            self.temperature = fit_temperature(predicted, true)
        if self.temperature is not None:
            found = self.splits[split] = calibrate(predicted, true, temperature=self.temperature)
            figure = draw_reliability(found, title=f"{split}, {len(true):,} rows")
            save_figure(figure, Path(self.path.format(split=split)))


class CurvePlot(WholeSplit):
    """Draw ROC, precision-recall and gain curves."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._class_names: tuple[str, ...] = pl_module.schema.class_names  # type: ignore[union-attr,assignment]

    def finish(self, split: str, *, probabilities: Tensor, labels: Tensor) -> None:
        title = f"{split}, {len(labels):,} rows"
        figure = draw_curves(probabilities.double().numpy(), labels.numpy(), self._class_names, title=title)
        save_figure(figure, Path(self.path.format(split=split)))
