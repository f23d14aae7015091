"""Report a trial's progress to its sweep, and stop it when it is not worth continuing."""

from pathlib import Path
from typing import Any, Protocol

from lightning import Callback, LightningModule, Trainer


class SweepTrial(Protocol):
    """A trial of a sweep, `canopy.sweep.worker.JobTrial`."""

    def report(self, value: float, step: int) -> None: ...

    def should_prune(self) -> bool: ...

    def describe(self) -> dict[str, Any]: ...

    def name_run(self, folder: Path) -> None: ...


class TrialReport(Callback):
    """Report the objective after each validation; stop training (`pruned`) if the trial asks for it."""

    def __init__(self, trial: SweepTrial, *, monitor: str) -> None:
        self.trial = trial
        self.monitor = monitor
        self.pruned = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        epoch = trainer.current_epoch + 1
        self.trial.report(float(trainer.callback_metrics[self.monitor]), epoch)
        if epoch < (trainer.max_epochs or 0) and self.trial.should_prune():
            self.pruned = trainer.should_stop = True
