"""Callbacks that need the predictions of a whole split at once, in the order of its rows."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from canopy.data.loader import Loader
from canopy.files import atomic_write
from canopy.tasks.task import Task
from canopy.training.processes import gather


class WholeSplit(Callback):
    """Keep what each step of a validation or a test gives, and hand it over when the split is through.

    In the `path` of the file that is made of it, `{split}` is replaced by the name of the split.
    """

    task: Task
    trainer: Trainer

    def __init__(self, path: str) -> None:
        self.path = path
        self._batches: list[dict[str, Tensor]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.task = pl_module.task  # type: ignore[assignment]
        self.trainer = trainer

    def finish(
        self, split: str, *, predictions: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> None:
        """Use the predictions of a split, (n_rows, K), and its labels, (n_rows,); called in one process.

        `weights`, (n_rows,), are given where rows have some.
        """
        raise NotImplementedError

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        self._batches.append({name: tensor.cpu() for name, tensor in outputs.items()})

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._gather(trainer, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._gather(trainer, "test")

    def _gather(self, trainer: Trainer, split: str) -> None:
        kept = {name: torch.cat([batch[name] for batch in self._batches]) for name in self._batches[0]}
        self._batches = []
        kept = gather_rows(kept, loader_of(trainer, split).sampler)
        if trainer.is_global_zero:
            self.finish(split, **kept)


class PredictionFile(WholeSplit):
    """Write a Parquet file of one row for each row, in order.

    The columns are those of `Task.prediction_columns` and, of rows with weights, `weight`.
    """

    def finish(
        self, split: str, *, predictions: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> None:
        # Here, since training does without it.
        import pyarrow as pa
        import pyarrow.parquet

        columns = self.task.prediction_columns(predictions.numpy(), labels.numpy())
        table = pa.table(columns if weights is None else {**columns, "weight": weights.numpy()})
        with atomic_write(Path(self.path.format(split=split))) as temporary:
            pa.parquet.write_table(table, temporary)


def loader_of(trainer: Trainer, split: str) -> Loader:
    """Find the loader that a validation or a test goes through."""
    loader = trainer.val_dataloaders if split == "val" else trainer.test_dataloaders
    assert isinstance(loader, Loader)
    return loader


def gather_rows(values: dict[str, Tensor], batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Put the values of all processes, one for each row of `batches`, in the order of all rows."""
    n_rows = len(next(iter(values.values())))
    # A limited number of batches leaves out the last ones.
    parts = gather({"row": torch.cat(list(batches)).cpu()[:n_rows], **values})
    together = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    order = together.pop("row").argsort()
    return {name: tensor[order] for name, tensor in together.items()}
