"""Keep the weights of the best epoch by validation, and all that was measured then."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, which also remembers the other metrics of the best epoch.

    Args:
        options: Those of ModelCheckpoint; `monitor` is required.

    Attributes:
        best_metrics: Each metric of the best epoch's validation, by name; empty before the first.

    Raises:
        ValueError: If no metric is given that tells which epoch is the best.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.monitor is None:
            raise ValueError('monitor must name the metric that chooses; found None: "val/accuracy" is one')
        self.best_metrics: dict[str, float] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        before = self.best_model_score
        super().on_validation_end(trainer, pl_module)
        if self.best_model_score is not before:
            self.best_metrics = {
                name: float(value)
                for name, value in sorted(trainer.callback_metrics.items())
                if name.startswith("val/")
            }

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best_metrics": self.best_metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.best_metrics = state_dict["best_metrics"]
