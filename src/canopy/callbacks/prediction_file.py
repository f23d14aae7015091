"""Keep what a model predicted for each row, so that runs can be compared row by row."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import torch
import torch.distributed
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from canopy.data.loader import Loader
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
        self._write(trainer, "val")

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
        self._write(trainer, "test")

    def _keep(self, outputs: dict[str, Tensor]) -> None:
        self._batches.append({name: tensor.cpu() for name, tensor in outputs.items()})

    def _write(self, trainer: Trainer, split: str) -> None:
        kept = {name: torch.cat([batch[name] for batch in self._batches]) for name in self._batches[0]}
        self._batches = []
        kept = gather_rows(kept, loader_of(trainer, split).sampler)
        if not trainer.is_global_zero:
            return
        probabilities = kept["probabilities"]
        columns = {"label": kept["labels"], "predicted": probabilities.argmax(dim=1)}
        columns |= {f"probability_{k}": column for k, column in enumerate(probabilities.T.contiguous())}
        table = pa.table({name: column.numpy() for name, column in columns.items()})
        with atomic_write(Path(self.path.format(split=split))) as temporary:
            pa.parquet.write_table(table, temporary)


def loader_of(trainer: Trainer, split: str) -> Loader:
    """Find the loader that a validation or a test goes through."""
    loader = trainer.val_dataloaders if split == "val" else trainer.test_dataloaders
    assert isinstance(loader, Loader)
    return loader


def gather_rows(values: dict[str, Tensor], batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Put what several processes computed for their rows in the order of all rows.

    Args:
        values: Of this process: one entry for each of its rows along the first axis.
        batches: Indices of its rows, batch after batch.

    Returns:
        The values of all rows, in every process.

    Examples:
        >>> gather_rows({"label": torch.tensor([7, 8, 9])}, [torch.tensor([2, 0]), torch.tensor([1])])
        {'label': tensor([8, 9, 7])}
    """
    n_rows = len(next(iter(values.values())))
    # A limited number of batches leaves out the last ones.
    own = {"row": torch.cat(list(batches))[:n_rows], **values}
    parts = [own]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts = [{}] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, own)
    together = {name: torch.cat([part[name] for part in parts]) for name in own}
    order = together.pop("row").argsort()
    return {name: tensor[order] for name, tensor in together.items()}
