"""Report how far training is: a bar on a terminal, a line for each epoch in the log, a value to a sweep."""

import logging
import sys
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

log = logging.getLogger(__name__)


class TerminalProgressBar(TQDMProgressBar):
    """Lightning's bar, on terminals alone: in a file each redraw would be a line."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not sys.stdout.isatty():
            self.disable()


class EpochLog(Callback):
    """Log a line after each validation: epoch, seconds and the logged metrics named."""

    def __init__(self, metrics: list[str]) -> None:
        self.metrics = list(metrics)
        self._started = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.perf_counter()

    # A resumed epoch has no start of its own.
    on_train_start = on_train_epoch_start

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        found = trainer.callback_metrics
        values = {name: float(found[name]) for name in self.metrics if name in found}
        shown = [
            f"{name} {value:.4f}" if value < 100 else f"{name} {value:.6g}" for name, value in values.items()
        ]
        epoch, last = trainer.current_epoch + 1, trainer.max_epochs
        of = "" if last in (None, -1) else f" of {last}"
        seconds = time.perf_counter() - self._started
        log.info("Epoch %d%s in %.1f s: %s", epoch, of, seconds, ", ".join(shown))


class TrialReport(Callback):
    """Report the objective after each validation to a `canopy.sweep.worker.JobTrial`; stop if asked."""

    def __init__(self, trial: Any, *, monitor: str) -> None:
        self.trial = trial
        self.monitor = monitor
        self.status = "finished"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        epoch = trainer.current_epoch + 1
        self.trial.report(float(trainer.callback_metrics[self.monitor]), epoch)
        if epoch < (trainer.max_epochs or 0) and self.trial.should_prune():
            self.status, trainer.should_stop = "pruned", True
