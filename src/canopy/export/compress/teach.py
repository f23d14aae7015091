"""Train a small net on what a trained one says: to learn from scratch, or to get over a pruning."""

import logging
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from omegaconf import DictConfig
from torch import Tensor, nn

from canopy.data.datamodule import TensorDataModule
from canopy.data.dataset import Batch, TensorRows, load_rows
from canopy.runs.run_folder import RunFolder
from canopy.training.callbacks.progress import EpochLog
from canopy.training.classifier import Classifier

log = logging.getLogger(__name__)

BATCH_SIZE = 4096


class TaughtData(TensorDataModule):
    """The rows of a run, the labels of its training rows mixed with what its model says about them.

    Source: Hinton et al., Distilling the knowledge in a neural network, 2015.

    Args:
        taught: Probability of each class for each training row, shape (n_rows, K).
        weight: Share of the target that is the model's word, from 0 to 1; the rest is the label.
        options: Those of `TensorDataModule`.
    """

    def __init__(self, *, taught: Tensor, weight: float, **options: Any) -> None:
        super().__init__(**options)
        self.taught = taught
        self.weight = weight

    def setup(self, stage: str) -> None:
        super().setup(stage)
        rows = self._rows["train"].rows
        if not rows.labels.is_floating_point():
            labels = F.one_hot(rows.labels, self.taught.shape[1]).float()
            self._rows["train"] = TensorRows(rows._replace(labels=labels.lerp(self.taught, self.weight)))


@torch.inference_mode()
def ask(teacher: Classifier, rows: Batch) -> Tensor:
    """Let a model say how likely each class is among the training rows, which may be capped.

    Returns:
        Shape (n_rows, K).
    """
    teacher.eval()
    parts = zip(rows.numeric.split(BATCH_SIZE), rows.categorical.split(BATCH_SIZE), strict=True)  # type: ignore[no-untyped-call]
    return torch.cat([(teacher(*part) + teacher.log_prior_ratio).softmax(dim=1) for part in parts])


class Teacher:
    """A run's model, which other nets learn from.

    Args:
        run: The run, its data in place.
        model: Its model.
        weight: Share of each target that is the model's word; the rest is the label.
    """

    def __init__(self, run: RunFolder, model: Classifier, *, weight: float) -> None:
        if not 0 <= weight <= 1:
            raise ValueError(f"teacher_weight must be from 0 to 1; found {weight}")
        self._config = run.located_config
        self._schema = run.schema
        self._weight = weight
        folder = self._config.data.folder
        self._taught = ask(model, load_rows(folder, "train", run.schema).rows)

    def teach(
        self, net: Callable[..., nn.Module], *, trainer: DictConfig, epochs: int, lr_factor: float = 1.0
    ) -> Classifier:
        """Train a net with the run's batches, optimiser and schedule.

        Args:
            net: Makes the net, as `Classifier` calls it.
            trainer: Config of the Trainer.
            epochs: How long.
            lr_factor: The learning rate as a multiple of the run's.

        Returns:
            The classifier after its last epoch.
        """
        config = self._config.copy()
        config.model.optimizer.lr *= lr_factor
        seed_everything(config.seed, workers=True, verbose=False)
        options = {str(name): value for name, value in config.data.items() if name != "_target_"}
        data = TaughtData(taught=self._taught, weight=self._weight, **options)
        model: Classifier = instantiate(config.model)(schema=self._schema, net=net).train()
        fitting: Trainer = instantiate(trainer)(
            max_epochs=epochs,
            callbacks=[EpochLog(["val/nll", "val/accuracy"])],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
        fitting.fit(model, datamodule=data)
        return model.cpu().eval()
