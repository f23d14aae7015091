"""Two processes on the CPU, started as a user starts them."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from canopy.callbacks.prediction_file import PredictionFile

ROOT = Path(__file__).parents[2]


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_two_processes_score_as_one(tensors: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(
        *("src/train.py", "trainer=ddp_sim", "trainer.max_epochs=1", "trainer.log_every_n_steps=2"),
        *("model.net.hidden=[16]", "data.batch_size=32", "data.eval_batch_size=7"),
        *(f"pipeline.paths.processed={tensors}", f"hydra.run.dir={folder}"),
    )
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert (folder / "train_ddp_process_1.log").is_file()
    run("src/evaluate.py", f"run={folder}", "split=val", "trainer=cpu", f"hydra.run.dir={tmp_path / 'log'}")
    alone = json.loads((folder / "evaluation/metrics.json").read_text())["val"]
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece"):
        assert record["metrics"][f"val/{name}"] == pytest.approx(alone[name], abs=1e-6), name


def test_predictions_are_made_by_one_process() -> None:
    with pytest.raises(ValueError, match="must be made by one process, to be in order; found 2"):
        PredictionFile("a").setup(SimpleNamespace(world_size=2), None, "test")
