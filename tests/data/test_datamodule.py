from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer

from canopy.data.datamodule import TensorDataModule, place_rows
from canopy.data.dataset import Batch, TensorRows


def make(folder: Path) -> TensorDataModule:
    return TensorDataModule(folder, batch_size=16, eval_batch_size=40, seed=0)


def test_loaders_have_their_batch_sizes_and_fitting_reads_no_test_rows(tensors: Path) -> None:
    (tensors / "test/00000.pt").unlink()
    data = make(tensors)
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    data.setup("fit")
    assert len(next(iter(data.train_dataloader())).labels) == 16
    assert len(next(iter(data.val_dataloader())).labels) == 40
    with pytest.raises(FileNotFoundError, match="test/00000.pt must exist"):
        data.setup("test")


def test_rows_larger_than_half_of_the_gpu_stay_in_main_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = TensorRows(Batch(torch.zeros(2**18, 1), torch.zeros(2**18, 1).long(), torch.zeros(2**18).long()))
    assert rows.n_bytes == 5 << 20
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (9 << 20, 16 << 20))
    assert place_rows(rows, torch.device("cuda", 0)) is rows
    assert "they take 5 MiB, and the GPU has 9 MiB free" in caplog.text


def test_each_epoch_has_its_own_order(tensors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does Lightning warn that workers are few, as on machines with more than two cores."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)), raising=False)
    seen: list[tuple[float, ...]] = []

    class Recorder(LightningModule):
        def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
            if batch_idx == 0:
                seen.append(tuple(batch.numeric[:, 0].tolist()))
            return self.weight.sum()

        def validation_step(self, batch: Batch, batch_idx: int) -> None:
            pass

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    model = Recorder()
    model.weight = torch.nn.Parameter(torch.zeros(1))
    options = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet = dict.fromkeys((*options, "use_distributed_sampler"), False)
    trainer = Trainer(accelerator="cpu", max_epochs=3, **quiet)
    trainer.fit(model, datamodule=make(tensors))
    assert len(set(seen)) == 3
