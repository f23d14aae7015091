"""Two processes on the CPU, started as a user starts them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_two_processes_score_as_one(tensors: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    output = run(
        *("src/train.py", "trainer=ddp_sim", "trainer.max_epochs=1", "trainer.log_every_n_steps=2"),
        *("model.net.hidden=[16]", "data.batch_size=32", "data.eval_batch_size=7"),
        *(f"pipeline.paths.processed={tensors}", f"hydra.run.dir={folder}"),
    )
    assert output.count("Epoch 1 of 1") == 1, "one process speaks"
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert (folder / "train_ddp_process_1.log").is_file()
    scores = {}
    for trainer in ("ddp_sim", "cpu"):
        output = run(
            *("src/evaluate.py", f"run={folder}", f"trainer={trainer}", f"output={tmp_path / trainer}"),
            f"hydra.run.dir={tmp_path / 'log'}",
        )
        assert output.count("test: accuracy") == 1
        scores[trainer] = json.loads((tmp_path / trainer / "metrics.json").read_text())
    for split in ("val", "test"):
        two, one = scores["ddp_sim"][split], scores["cpu"][split]
        for name in ("n_rows", "per_class", "intervals"):
            assert two.pop(name) == one.pop(name)
        assert two.pop("calibrated") == pytest.approx(one.pop("calibrated"), abs=1e-5)
        assert set(one) == {"accuracy", "balanced_accuracy", "macro_f1", "nll", "ece"}
        for name, value in one.items():
            assert two[name] == pytest.approx(value, abs=1e-6), name
            if split == "val":
                assert record["best"]["metrics"][f"val/{name}"] == pytest.approx(value, abs=1e-6), name
        files = [tmp_path / trainer / f"predictions_{split}.parquet" for trainer in scores]
        pd.testing.assert_frame_equal(*map(pd.read_parquet, files), rtol=0, atol=1e-6)


# Keeps the numbers of the rows that this process trains on, epoch by epoch.
KEEP_ROWS = """
import json
import sys
from pathlib import Path
import torch
from lightning import LightningModule, Trainer
from canopy.data.datamodule import TensorDataModule

class Seen(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.epochs = torch.nn.Linear(1, 1), []

    def on_train_epoch_start(self):
        self.epochs.append([])

    def training_step(self, batch, batch_idx):
        self.epochs[-1] += batch.numeric[:, 0].int().tolist()
        return self.layer(batch.numeric[:, :1]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)

tensors, folder = map(Path, sys.argv[1:])
trainer = Trainer(
    accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, use_distributed_sampler=False,
    limit_val_batches=0, logger=False, enable_checkpointing=False, enable_progress_bar=False,
    default_root_dir=folder,
)
model = Seen()
trainer.fit(model, datamodule=TensorDataModule(tensors, batch_size=8, eval_batch_size=8, seed=0))
(folder / f"{trainer.global_rank}.json").write_text(json.dumps(model.epochs))
"""


@pytest.mark.parametrize("n_rows", [300, 289])
def test_each_row_is_trained_on_once_an_epoch(
    tensors: Path, tmp_path: Path, n_rows: int, replace_rows: Callable[..., None]
) -> None:
    replace_rows(tensors, "train", n_rows)
    (tmp_path / "keep_rows.py").write_text(KEEP_ROWS)
    run(str(tmp_path / "keep_rows.py"), str(tensors), str(tmp_path))
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert len(first) == len(second) == 2
    for rows in zip(first, second, strict=True):
        assert sorted(rows[0] + rows[1]) == list(range(n_rows))
        assert abs(len(rows[0]) - len(rows[1])) <= 1
    assert first[0] != first[1], "each epoch has its own order"
