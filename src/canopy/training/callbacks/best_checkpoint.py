"""Keep the weights of the best epoch by validation, and all that was measured then."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor

from canopy.training.callbacks.member_selection import MemberSelection

# Options of ModelCheckpoint with which something else would be kept than one file, of the best epoch.
FIXED: dict[str, Any] = {"save_on_train_epoch_end": False, "save_top_k": 1, "save_last": False}
FIXED |= dict.fromkeys(("every_n_train_steps", "train_time_interval"))


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, after validations alone, which also keeps the best epoch's metrics.

    With `MemberSelection` every validation is the best so far: each kind of net is at its own best epoch, and
    to choose among the epochs again, by the score of their mean, would keep kinds that had hardly learnt
    where the mean has a lucky score early.

    Args:
        monitor: The metric of validation that chooses, such as `val/accuracy`.
        options: Those of ModelCheckpoint but for `FIXED`.

    Attributes:
        best_metrics: Each metric of the best epoch's validation, by name; empty before the first.
        best_epoch: Number of the best epoch, from 1; 0 before the first validation.
    """

    def __init__(self, *, monitor: str, **options: Any) -> None:
        for name, only in FIXED.items():
            if (value := options.get(name)) not in (None, only):
                raise ValueError(f"{name} must be left out: the best epoch alone is kept; got {value}")
        super().__init__(monitor=monitor, **{**options, **FIXED})
        self.best_metrics: dict[str, float] = {}
        self.best_epoch = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            # It puts the averaged weights, which were scored, into whole checkpoints alone.
            self.save_weights_only = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        # Nothing is saved here: an epoch is the best by its validation. But Lightning ends at its limits
        # without one, unless it is asked to stop.
        is_end = trainer.global_step == trainer.max_steps
        if self.best_model_score is None and trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            is_end = is_end or trainer.current_epoch + 1 == trainer.max_epochs
        if is_end:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        before = self.best_model_score
        super().on_validation_end(trainer, pl_module)
        if self.best_model_score is not before:
            metrics = sorted(trainer.callback_metrics.items())
            self.best_metrics = {name: float(value) for name, value in metrics if name.startswith("val/")}
            self.best_epoch = trainer.current_epoch + 1

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        selects = any(isinstance(callback, MemberSelection) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        return selects or super().check_monitor_top_k(trainer, current)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best_metrics": self.best_metrics, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.best_metrics, self.best_epoch = state_dict["best_metrics"], state_dict["best_epoch"]
