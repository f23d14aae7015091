"""Train a run's net again on training and validation rows, for as long as was best without the latter."""

import logging
import math
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from omegaconf import DictConfig, open_dict
from torch import Tensor

from canopy.runs.run import BEST_CHECKPOINT
from canopy.tensors import save_tensors
from canopy.training.callbacks.member_selection import MemberSelection
from canopy.training.checkpoint import REFIT, load_checkpoint
from canopy.training.fit import Training, prepare

log = logging.getLogger(__name__)

MEMBERS = "net.members"
# What an interrupted refit continues from.
STATE = "checkpoints/refit.ckpt"
KEPT_CALLBACKS = ("weight_averaging", "progress_bar", "resume_checkpoint")


class StepSnapshot(Callback):
    """Keep the (averaged) weights of a net after a number of steps for each prefix of names; then stop."""

    def __init__(self, steps: dict[str, int]) -> None:
        self.steps = steps
        self.weights: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        due = tuple(prefix for prefix, step in self.steps.items() if step == trainer.global_step)
        if due:
            source = pl_module
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, WeightAveraging):
                    # Lightning has no public way to it during training.
                    source = callback._average_model.module  # type: ignore[union-attr, assignment]  # noqa: SLF001
            for name, weight in source.named_parameters():
                if name.startswith(due):
                    self.weights[name] = weight.detach().cpu().clone()
        if trainer.global_step >= max(self.steps.values()):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.weights = state_dict["weights"]


def refit(cfg: DictConfig, first: Training, report: dict[str, Any]) -> None:
    """Train the net of a run again, with its validation rows among the training rows.

    There is nothing left to choose an epoch by, so each kind of net takes as many steps as were best in the
    first training, of a schedule of the same length; trees are as many. The weights go into the best
    checkpoint, next to those that the validation scores are of.
    """
    started = time.perf_counter()
    best_checkpoint, state = (Path(cfg.run_folder) / name for name in (BEST_CHECKPOINT, STATE))
    best = load_checkpoint(best_checkpoint)
    steps = {"": best["global_step"]}
    if selection := first.callback(MemberSelection):
        chosen = selection.found[best["epoch"] + 1].items()
        steps = {f"{MEMBERS}.{name}.": int(found["step"]) for name, found in chosen if "step" in found}
    n_best = max(steps.values())
    log.info("Training again on training and validation rows, for %d steps", n_best)
    # Infinite if only time or a callback ended the first training.
    n_scheduled = first.trainer.estimated_stepping_batches
    config = _config(cfg, state, n_steps=n_best if math.isinf(n_scheduled) else int(n_scheduled))
    # After the average that it takes, before the checkpoint that saves it, which Lightning calls last.
    snapshot = StepSnapshot(steps)
    second = prepare(config, snapshot)
    # The trees that were chosen by the validation rows, in number and rate.
    for name, trees in second.model.trees.items():
        leaves, rate = (best["state_dict"][f"{MEMBERS}.{name}.{key}"] for key in ("leaves", "learning_rate"))
        trees.fix(n_trees=len(leaves), learning_rate=float(rate))
    second.fit(state if state.is_file() else None)
    weights = {name: weight.detach().cpu() for name, weight in second.model.state_dict().items()}
    shares = {name: item for name, item in best["state_dict"].items() if name.endswith("member_weights")}
    if {name for name, _ in second.model.named_parameters()} <= snapshot.weights.keys():
        save_tensors({**best, REFIT: {**weights, **shares, **snapshot.weights}}, best_checkpoint)
    else:
        log.warning("Training again ended too early: the model is that of the training rows alone")
    state.unlink(missing_ok=True)
    seconds = time.perf_counter() - started
    report["refit_seconds"] = round(seconds, 2)
    report["train_seconds"] = round(report["train_seconds"] + seconds, 2)


def _config(cfg: DictConfig, state: Path, *, n_steps: int) -> DictConfig:
    config = cfg.copy()
    callbacks = {key: item for key, item in config.callbacks.items() if item and key in KEPT_CALLBACKS}
    with open_dict(config):
        config.data.train_splits = ["train", "val"]
        config.logger = {}
        config.callbacks = callbacks
        config.trainer.enable_checkpointing = "resume_checkpoint" in callbacks
        if "resume_checkpoint" in callbacks:
            config.callbacks.resume_checkpoint.path = str(state)
        # Its epochs are longer, so that the limit on epochs lies behind it.
        config.trainer.max_steps = n_steps
        config.trainer.limit_val_batches = 0
    return config
