"""Save the whole state of training, so that a run that was killed or stopped can be resumed."""

import logging
import os
import random
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from canopy.training.processes import gather

log = logging.getLogger(__name__)

# Ctrl-C, a scheduler or service manager, a closed terminal or lost connection, a batch system's warning.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

# Several processes must save and stop after the same batch; they agree on it this often.
AGREE_EVERY_N_BATCHES = 10


class TrainingStopped(Exception):  # noqa: N818 - it is no error
    """Training ended on request, with its state saved."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


class ResumeCheckpoint(Checkpoint):
    """Keep one checkpoint of everything that decides how training continues.

    Besides what Lightning saves it holds the random state of each process, so that a run resumed from it ends
    with the weights of one that never stopped. It is saved from time to time, between batches and after
    validations, after the first and the last validation always. A signal (`SIGNALS`) saves it after the
    batch at hand and ends training with `TrainingStopped`; a second one ends it at once.
    """

    def __init__(self, path: str | Path, *, every_n_seconds: float) -> None:
        self.path = Path(path)
        self.every_n_seconds = every_n_seconds
        self._saved_at = 0.0
        self._is_saved = False
        self._signal = 0
        self._loaded: dict[str, Any] | None = None
        self._previous_handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()
        # Lightning still draws numbers after it has loaded a checkpoint, and gives no state back to a loader
        # that was made for the length of a schedule.
        if self._loaded is not None:
            states = self._loaded["random"]
            # On more devices than before, the further ones keep the state of their seed.
            if trainer.global_rank < len(states):
                set_random_state(states[trainer.global_rank])
            trainer.train_dataloader.load_state_dict(self._loaded["loader"])  # type: ignore[union-attr]
            self._loaded = None
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                current = signal.getsignal(number)
                # `nohup` ignores SIGHUP.
                if current != signal.SIG_IGN:
                    self._previous_handlers[number] = signal.signal(number, self._request_stop)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Before the first batch nothing has changed since the validation.
        if batch_idx == 0 or (trainer.world_size > 1 and batch_idx % AGREE_EVERY_N_BATCHES):
            return
        due, stop = self._agree_on(trainer, due=self._is_time())
        if due or stop:
            # The batch before is done and logged; this one, which Lightning has counted as ready, is left
            # to the resumed run.
            progress = trainer.fit_loop.epoch_loop.batch_progress
            for counts in (progress.current, progress.total):
                counts.ready -= 1
            self._save(trainer, stop)
            for counts in (progress.current, progress.total):
                counts.ready += 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        is_last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        due, stop = self._agree_on(trainer, due=is_last or not self._is_saved or self._is_time())
        if due or stop:
            self._save(trainer, stop)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.train_dataloader is not None:
            loader_state = trainer.train_dataloader.state_dict()
            checkpoint["resume"] = {"random": gather(get_random_state()), "loader": loader_state}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._loaded = checkpoint["resume"]

    def _agree_on(self, trainer: Trainer, *, due: bool) -> tuple[bool, int]:
        """Report whether any process is to save, and which signal any has received (0 for none)."""
        if trainer.world_size == 1:
            return due, self._signal
        asked = torch.tensor([int(due), self._signal], device=trainer.strategy.root_device)
        agreed: Any = trainer.strategy.reduce(asked, reduce_op="max")
        return bool(agreed[0]), int(agreed[1])

    def _is_time(self) -> bool:
        return time.monotonic() - self._saved_at >= self.every_n_seconds

    def _save(self, trainer: Trainer, stop: int) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            # What has been logged so far is not logged again by a run resumed from here.
            for logger in trainer.loggers:
                logger.save()
            trainer.save_checkpoint(self.path, weights_only=False)
            self._is_saved = True
        self._saved_at = time.monotonic()
        if stop:
            raise TrainingStopped(stop)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self._restore_handlers()
        self._signal = number
        if number == signal.SIGHUP:
            # To write to a terminal that is gone would be an error, before the state is saved.
            for descriptor in filter(os.isatty, (1, 2)):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        log.warning("Stopping after this batch; a second signal stops at once")

    def _restore_handlers(self) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        self._previous_handlers = {}


def get_random_state() -> dict[str, Any]:
    """Collect the states of all generators, as tensors and plain values."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - Lightning seeds this one
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        # Of this process's device alone: the others belong to other processes, and may be absent later.
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Set the states of all generators to what `get_random_state` collected."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if isinstance(state["cuda"], torch.Tensor) and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
