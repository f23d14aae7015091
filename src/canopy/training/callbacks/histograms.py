"""Show how weights and gradients are distributed in TensorBoard."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.optim import Optimizer

from canopy.training.callbacks.hyperparameters import tensorboards


class ParameterHistograms(Callback):
    """Log a histogram of each parameter and of its gradient, every so many optimiser steps.

    The weights are those from before the step. The gradients are those of the whole step, over all
    accumulated batches and all processes, before they are clipped.

    Args:
        every_n_steps: Steps from one set of histograms to the next, the first before training; None for
            no histograms.

    Raises:
        ValueError: If `every_n_steps` is below 1.
    """

    def __init__(self, *, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, or null; found {every_n_steps}")
        self.every_n_steps = every_n_steps

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.every_n_steps is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if not any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers):
            found = ", ".join(type(logger).__name__ for logger in trainer.loggers) or "no logger"
            raise ValueError(
                f"Histograms need a TensorBoard logger; found {found}: add it with logger=default, or leave "
                "out callbacks.histograms.every_n_steps"
            )

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if self.every_n_steps is None or trainer.global_step % self.every_n_steps:
            return
        scale = gradient_scale(trainer, optimizer)
        for logger in tensorboards(trainer):
            for name, parameter in pl_module.named_parameters():
                self._log(logger, f"weights/{name}", parameter, trainer.global_step)
                if parameter.grad is not None:
                    self._log(logger, f"gradients/{name}", parameter.grad / scale, trainer.global_step)

    def _log(self, logger: TensorBoardLogger, tag: str, values: Tensor, step: int) -> None:
        values = values.detach().float()
        # TensorBoard refuses others, which half precision gives now and then and a diverged run always.
        finite = values[values.isfinite()]
        if len(finite):
            logger.experiment.add_histogram(tag, finite, step)


def gradient_scale(trainer: Trainer, optimizer: Optimizer) -> float:
    """Find the factor on gradients in mixed precision that a fused optimiser has yet to remove, 1 if none."""
    scaler: Any = getattr(trainer.precision_plugin, "scaler", None)
    if isinstance(scaler, torch.amp.GradScaler) and getattr(optimizer, "_step_supports_amp_scaling", False):
        return float(scaler.get_scale())
    return 1.0
