"""Keep the weights of the best epoch by validation, and all that was measured then."""

from functools import cached_property
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, which also remembers the other metrics of the best epoch.

    Args:
        options: Those of ModelCheckpoint, without those that save between validations; `monitor` is required.

    Attributes:
        best_metrics: Each metric of the best epoch's validation, by name; empty before the first.

    Raises:
        ValueError: If no metric is given that tells which epoch is the best, or an option asks for saving
            between validations.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.monitor is None:
            raise ValueError('monitor must name the metric that chooses; found None: "val/accuracy" is one')
        between = {"every_n_train_steps", "train_time_interval"} & options.keys()
        if between:
            raise ValueError(
                f"The best epoch is saved after its validation; found {sorted(between)}: leave it out; "
                "callbacks.resume_checkpoint.every_n_seconds saves between validations"
            )
        self.best_metrics: dict[str, float] = {}

    @cached_property
    def state_key(self) -> str:
        # Lightning asks for it at each hook, some six times a batch, and would write it anew.
        return super().state_key

    def on_train_batch_end(self, *args: Any) -> None:
        # Nothing: an epoch is the best by its validation, after which it is saved.
        pass

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
