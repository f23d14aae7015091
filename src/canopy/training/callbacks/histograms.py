"""Show how weights and gradients are distributed in TensorBoard."""

import logging

from lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from canopy.training.callbacks.hyperparameters import tensorboards

log = logging.getLogger(__name__)


class ParameterHistograms(Callback):
    """Log a histogram of each parameter and of its gradient, every so many optimiser steps.

    The weights are those from before the step. The gradients are those of the whole step, over all
    accumulated batches and all processes, before they are clipped; in half precision of a fused optimiser
    they are scaled. None as `every_n_steps` is for no histograms.
    """

    def __init__(self, *, every_n_steps: int | None = None) -> None:
        self.every_n_steps = every_n_steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_steps and not tensorboards(trainer):
            log.warning("Histograms need a TensorBoard logger; there is none: add tensorboard to logger")

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if self.every_n_steps is None or trainer.global_step % self.every_n_steps:
            return
        for logger in tensorboards(trainer):
            for name, parameter in pl_module.named_parameters():
                shown = {f"weights/{name}": parameter.detach()}
                if parameter.grad is not None:
                    shown[f"gradients/{name}"] = parameter.grad
                for tag, values in shown.items():
                    # TensorBoard refuses others, which half precision and diverged runs give.
                    finite = values[values.isfinite()].float()
                    if len(finite):
                        logger.experiment.add_histogram(tag, finite, trainer.global_step)
