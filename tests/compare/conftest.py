import json
import os
import runpy
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from canopy.runs.run import Run
from canopy.tasks.scores import Scores
from packages import ROOT

CONFIG = {"data": {"seed": "${seed}", "folder": "data"}, "run_folder": "${hydra:runtime.output_dir}"}
RECORD = {
    "format": 1,
    "status": "finished",
    "process": {"host": socket.gethostname(), "pid": os.getpid()},
    "git": {"commit": "c" * 40, "dirty": False},
    "data": {"test/00000.pt": "d" * 64},
    "files": {"params.yaml": "e" * 64},
    "machine": {"python": "3.11.7", "n_threads": 2, "gpus": []},
    "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
    "training": {"epochs": 3, "train_seconds": 12.5, "n_parameters": 1000},
}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def make_run(logs: Path) -> Callable[..., Run]:
    """Make a finished run; options give in what it differs from the others."""

    def make(name: str, *, lr: float = 0.01, seed: int = 0, score: float = 0.5, **record: Any) -> Run:
        folder = logs / "train" / ("multiruns" if "/" in name else "runs") / name
        folder.mkdir(parents=True)
        model = {"net": {"hidden": [8, 8]}, "scheduler": {"max_lr": "${..optimizer.lr}"}}
        config = {"seed": seed, **CONFIG, "model": model | {"optimizer": {"lr": lr}}}
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        content = {
            "name": folder.name,
            "started": f"2026-01-31T12:00:{len(list(logs.rglob('config.yaml'))):02}+00:00",
            "commands": [{"argv": [], "overrides": [f"seed={seed}", "publish.run=models/trained"]}],
            "best": {"monitor": "val/accuracy", "score": score, "metrics": {"val/accuracy": score}},
        }
        (folder / "run.json").write_text(json.dumps(RECORD | content | record))
        return Run(folder, name)

    return make


@pytest.fixture
def evaluate() -> Callable[..., None]:
    """Leave what the evaluation of a run on a split leaves."""

    def write(
        run: Run, labels: Any, predicted: Any, *, split: str = "test", names: str = "Apple Pear Plum/Damson"
    ) -> None:
        class_names = tuple(names.split())
        confusion = np.zeros((len(class_names), len(class_names)), dtype=np.int64)
        np.add.at(confusion, (labels, predicted), 1)
        scores = Scores(class_names=class_names, confusion=confusion, nll=0.5, ece=0.1)
        metrics = run.path / "evaluation/metrics.json"
        metrics.parent.mkdir(exist_ok=True)
        content = json.loads(metrics.read_text()) if metrics.exists() else {}
        metrics.write_text(json.dumps(content | {split: scores.report()}))
        table = pd.DataFrame({"label": labels, "predicted": predicted})
        table.to_parquet(metrics.with_name(f"predictions_{split}.parquet"))

    return write


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command of src/; gives what it writes, and how it ends."""

    def run(words: str) -> tuple[str, str, str]:
        script, *arguments = words.split()
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        try:
            runpy.run_path(str(ROOT / f"src/{script}.py"), run_name="__main__")
        except SystemExit as error:
            return *capsys.readouterr(), str(error.code)
        return *capsys.readouterr(), ""

    return run
