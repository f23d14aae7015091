"""Train a net on what a trained one predicts: to learn from scratch, or to recover from a pruning."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from omegaconf import DictConfig
from torch import Tensor, nn

from canopy.data.datamodule import TensorDataModule
from canopy.data.dataset import Batch, TensorRows
from canopy.evaluation.inference import predict_rows
from canopy.prepare.preprocessor import Encoded
from canopy.runs.run import Run
from canopy.training.callbacks.progress import EpochLog
from canopy.training.classifier import Classifier

BATCH_SIZE = 4096


class TaughtData(TensorDataModule):
    """The rows of a run, the labels of its training rows mixed with what its model predicts for them.

    Source: Hinton et al., Distilling the knowledge in a neural network, 2015.

    Args:
        taught: Probability of each class for each training row, shape (n_rows, K).
        weight: Share of the target that is the model's prediction, from 0 to 1; the rest is the label.
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


def teacher_probabilities(teacher: Classifier, rows: Batch) -> Tensor:
    """Predict the classes of training rows, which may be capped, with their own class frequencies.

    Returns:
        Shape (n_rows, K).
    """
    encoded = Encoded(rows.numeric.numpy(), rows.categorical.numpy())
    predicted = torch.from_numpy(predict_rows(teacher, encoded, batch_size=BATCH_SIZE))
    capped = predicted * teacher.log_prior_ratio.exp()
    return capped / capped.sum(dim=1, keepdim=True)


def teach(
    run: Run,
    net: Callable[..., nn.Module],
    *,
    taught: Tensor,
    weight: float,
    trainer: DictConfig,
    epochs: int,
    lr_factor: float = 1.0,
) -> Classifier:
    """Train a net with a run's batches, optimiser and schedule.

    Args:
        run: The run, its data in place.
        net: Makes the net, as `Classifier` calls it.
        taught: What the run's model predicts for the training rows, shape (n_rows, K).
        weight: Share of each target that is this prediction; the rest is the label.
        trainer: Config of the Trainer.
        epochs: How long.
        lr_factor: The learning rate as a multiple of the run's.

    Returns:
        The classifier after its last epoch.
    """
    config = run.located_config
    config.model.optimizer.lr *= lr_factor
    seed_everything(config.seed, workers=True, verbose=False)
    options = {str(name): value for name, value in config.data.items() if name != "_target_"}
    model: Classifier = instantiate(config.model)(schema=run.schema, net=net).train()
    fitting: Trainer = instantiate(trainer)(
        max_epochs=epochs,
        callbacks=[EpochLog(["val/nll", "val/accuracy"])],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    fitting.fit(model, datamodule=TaughtData(taught=taught, weight=weight, **options))
    return model.cpu().eval()
