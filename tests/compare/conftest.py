"""Made-up run folders."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.typing import NDArray
from omegaconf import OmegaConf

from canopy.runs.listed import ListedRun
from canopy.tasks.scores import Scores

NAMES = ("Apple", "Pear", "Plum/Damson")
MakeRun = Callable[..., Path]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def make_run(logs: Path) -> MakeRun:
    """Make a finished run; options say in what it differs from the others."""

    def make(name: str, *, lr: float = 0.01, seed: int = 0, score: float = 0.5, **record: Any) -> Path:
        folder = logs / "train" / ("multiruns" if "/" in name else "runs") / name
        folder.mkdir(parents=True)
        config = {
            "seed": seed,
            "data": {"seed": "${seed}", "folder": "data"},
            "model": {
                "net": {"hidden": [8, 8]},
                "optimizer": {"lr": lr},
                "scheduler": {"max_lr": "${..optimizer.lr}"},
            },
            "run_folder": "${hydra:runtime.output_dir}",
        }
        (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
        content = {
            "format": 1,
            "status": "finished",
            "name": folder.name,
            "started": f"2026-01-31T12:00:{len(list(logs.rglob('config.yaml'))):02}+00:00",
            "commands": [{"argv": [], "overrides": [f"seed={seed}", "publish.run=models/trained"]}],
            "process": {"host": socket.gethostname(), "pid": os.getpid()},
            "git": {"commit": "c" * 40, "dirty": False},
            "data": {"test.pt": "d" * 64},
            "files": {"params.yaml": "e" * 64},
            "machine": {"python": "3.11.7", "n_threads": 2, "gpus": []},
            "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
            "best": {
                "path": "checkpoints/best.ckpt",
                "monitor": "val/accuracy",
                "score": score,
                "metrics": {"val/accuracy": score},
            },
            "training": {"epochs": 3, "train_seconds": 12.5, "n_parameters": 1000},
        }
        (folder / "run.json").write_text(json.dumps(content | record))
        return folder

    return make


@pytest.fixture
def make_listed(make_run: MakeRun, logs: Path) -> Callable[..., ListedRun]:
    """Make a run and read it."""

    def make(name: str, **options: Any) -> ListedRun:
        return ListedRun(make_run(name, **options), name)

    return make


def evaluate(
    folder: Path,
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    *,
    split: str = "test",
    names: tuple[str, ...] = NAMES,
) -> None:
    """Leave what the evaluation of a run leaves."""
    confusion = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    scores = Scores(class_names=names, confusion=confusion, nll=0.5, ece=0.1)
    evaluation = folder / "evaluation"
    evaluation.mkdir(exist_ok=True)
    metrics = evaluation / "metrics.json"
    content = json.loads(metrics.read_text()) if metrics.exists() else {}
    metrics.write_text(json.dumps(content | {split: scores.report()}))
    table = pa.table({"label": labels, "predicted": predicted})
    pa.parquet.write_table(table, evaluation / f"predictions_{split}.parquet")


@pytest.fixture(name="evaluate")
def evaluate_fixture() -> Callable[..., None]:
    return evaluate
