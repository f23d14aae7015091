"""Show a run's confusion matrix as a plot."""

from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from canopy.tasks.plots import draw_confusion
from canopy.tasks.scores import Scores
from canopy.training.callbacks.figures import log_figure


class ConfusionMatrixPlot(Callback):
    """Draw the confusion matrix, as a PNG file and where plots are logged: of the test rows always.

    `{split}` in `path` is replaced by the name of the split; `every_n_validations` may be None for no other.
    Without classes there is none.
    """

    def __init__(self, path: str, *, every_n_validations: int | None = None) -> None:
        self.path = path
        self.every_n_validations = every_n_validations
        self._n_validations = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_validations is None or trainer.sanity_checking:
            return
        self._n_validations += 1
        if self._n_validations % self.every_n_validations == 0:
            self._show(trainer, pl_module, "val")

    def state_dict(self) -> dict[str, Any]:
        return {"n_validations": self._n_validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._n_validations = state_dict["n_validations"]

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(trainer, pl_module, "test")

    def _show(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        if not trainer.is_global_zero:
            return
        scores = pl_module.scores[split]  # type: ignore[index]
        if not isinstance(scores, Scores):
            return
        figure = draw_confusion(scores, title=f"{split}, {scores.n_rows:,} rows")
        log_figure(trainer, f"confusion_matrix/{split}", figure, Path(self.path.format(split=split)))
