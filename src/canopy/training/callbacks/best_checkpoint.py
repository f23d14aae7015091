"""Keep the weights of the best epoch by validation, and all that was measured then."""

import math
from functools import cached_property
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor

from canopy.training.callbacks.member_selection import MemberSelection


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, which also remembers the other metrics of the best epoch.

    With `MemberSelection` every validation is the best so far: each kind of net is at its own best epoch, and
    to choose among the epochs again, by the score of their mean, would keep kinds that had hardly learnt
    where the mean has a lucky score early.

    Args:
        options: Those of ModelCheckpoint, without those that save between validations; `monitor` is required.

    Attributes:
        best_metrics: Each metric of the best epoch's validation, by name; empty before the first.
        best_epoch: Number of the best epoch, from 1; 0 before the first validation.

    Raises:
        ValueError: If no metric is given that says which epoch is the best, or an option asks for saving
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
        self.best_epoch = 0

    @cached_property
    def state_key(self) -> str:
        # Lightning asks for it at each hook, some six times a batch, and would write it anew.
        return super().state_key

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            # It puts the averaged weights, which were scored, into whole checkpoints alone.
            self.save_weights_only = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        every = trainer.check_val_every_n_epoch
        n_epochs = _count_epochs(trainer)
        if every is not None and n_epochs < every:
            raise ValueError(
                f"The best epoch is chosen by validation; got trainer.check_val_every_n_epoch={every}, but "
                f"training ends after {n_epochs:g} epochs: lower it, or train longer"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
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
            self.best_metrics = {
                name: float(value)
                for name, value in sorted(trainer.callback_metrics.items())
                if name.startswith("val/")
            }
            self.best_epoch = trainer.current_epoch + 1

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        selects = any(isinstance(callback, MemberSelection) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        return selects or super().check_monitor_top_k(trainer, current)

    def state_dict(self) -> dict[str, Any]:
        own = {"best_metrics": self.best_metrics, "best_epoch": self.best_epoch}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.best_metrics = state_dict["best_metrics"]
        # A checkpoint of an earlier version has none.
        self.best_epoch = state_dict.get("best_epoch", 0)


def _count_epochs(trainer: Trainer) -> float:
    """Count the epochs that training begins, infinity if only time or a callback ends it."""
    limits = [math.inf]
    if trainer.max_epochs not in (None, -1):
        limits.append(trainer.max_epochs)
    if trainer.max_steps != -1:
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        limits.append(math.ceil(trainer.max_steps / steps))
    return min(limits)
