"""Keep what a model predicted for each row, so that runs can be compared row by row."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from canopy.files import atomic_write


class PredictionFile(Callback):
    """Write the predictions of a whole split as a Parquet file, one row for each of its rows, in order.

    The columns are `label` and `predicted`, indices of classes, and `probability_0`, `probability_1` and
    so on, the probability of each class.

    Args:
        path: Where the file goes; `{split}` in it stands for the name of the split.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._batches: list[dict[str, Tensor]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size > 1:
            raise ValueError(
                f"Predictions must be made by one process, to be in order; found {trainer.world_size}: "
                "evaluate with trainer.devices=1"
            )

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._keep(outputs)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write("val")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._keep(outputs)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write("test")

    def _keep(self, outputs: dict[str, Tensor]) -> None:
        self._batches.append({name: tensor.cpu() for name, tensor in outputs.items()})

    def _write(self, split: str) -> None:
        labels = torch.cat([batch["labels"] for batch in self._batches])
        probabilities = torch.cat([batch["probabilities"] for batch in self._batches])
        self._batches = []
        columns = {"label": labels, "predicted": probabilities.argmax(dim=1)}
        columns |= {f"probability_{k}": column for k, column in enumerate(probabilities.T.contiguous())}
        table = pa.table({name: column.numpy() for name, column in columns.items()})
        with atomic_write(Path(self.path.format(split=split))) as temporary:
            pa.parquet.write_table(table, temporary)
