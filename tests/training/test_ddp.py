"""Two processes on the CPU, started as a user starts them."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from canopy.data.datamodule import TensorDataModule
from packages import ROOT, execute


def run(*arguments: str) -> str:
    return execute("python", *arguments, folder=ROOT).stdout


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
        trained = {"accuracy", "balanced_accuracy", "macro_f1", "nll", "ece"}
        assert set(one) == {*trained, "auc", "top_2_accuracy"}
        for name, value in one.items():
            assert two[name] == pytest.approx(value, abs=1e-6), name
            if split == "val" and name in trained:
                assert record["best"]["metrics"][f"val/{name}"] == pytest.approx(value, abs=1e-6), name
        files = [tmp_path / trainer / f"predictions_{split}.parquet" for trainer in scores]
        pd.testing.assert_frame_equal(*map(pd.read_parquet, files), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_rows", [300, 289])
def test_two_processes_share_the_rows(tensors: Path, n_rows: int, replace_rows: Callable[..., None]) -> None:
    replace_rows(tensors, "train", n_rows)
    parts = []
    for rank in range(2):
        data = TensorDataModule(tensors, batch_size=8, eval_batch_size=8, seed=0)
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(world_size=2, global_rank=rank, strategy=strategy)
        data.setup("fit")
        parts.append([int(row) for batch in data.train_dataloader() for row in batch.numeric[:, 0]])
    assert sorted(parts[0] + parts[1]) == list(range(n_rows))
    assert abs(len(parts[0]) - len(parts[1])) <= 1
