import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from scipy import stats

from canopy.compare.spread import MultirunSummary, summarize_runs
from canopy.runs.find import find_runs
from canopy.runs.run import Run
from packages import ROOT

LR = "model.optimizer.lr"
Make = Callable[..., Any]


@pytest.fixture
def sweep(make_run: Make, logs: Path) -> list[Run]:
    """Two values of lr with two seeds each, and a failed run; the newest first."""
    for job, (lr, seed, score) in enumerate([(0.1, 0, 0.5), (0.1, 1, 0.75), (0.01, 0, 0.5), (0.01, 1, 0.5)]):
        make_run(f"sweep/{job}", lr=lr, seed=seed, score=score)
    make_run("sweep/4", lr=0.01, seed=2, status="failed", best={}, training={})
    return find_runs([], logs=logs)


def test_summary_has_a_line_for_each_group_and_column(sweep: list[Run]) -> None:
    assert summarize_runs(sweep, keys=[LR], columns=["best", "status", "epochs"]).splitlines() == [
        "5 runs: 1 failed, 4 finished",
        "They differ in seed (0, 1, 2); model.optimizer.lr (0.01, 0.1)",
        "",
        "model.optimizer.lr  n  column  mean ± sd        95 % interval",
        "              0.01  2  best    0.5000 ± 0.0000  0.5000 to 0.5000",
        "              0.01  2  epochs  3.0000 ± 0.0000  3.0000 to 3.0000",
        "              0.10  2  best    0.6250 ± 0.1768  -0.9633 to 2.2133",
        "              0.10  2  epochs  3.0000 ± 0.0000  3.0000 to 3.0000",
    ]
    with pytest.raises(ValueError, match="A summary needs numbers; found none in status of 5 runs"):
        summarize_runs(sweep, columns=["status"])


def test_summary_as_json_and_csv(sweep: list[Run]) -> None:
    groups = json.loads(summarize_runs(sweep, keys=[LR, "seed"], form="json"))
    pairs = [(0.01, 0), (0.01, 1), (0.01, 2), (0.1, 0), (0.1, 1)]
    assert [group["values"] for group in groups] == [{LR: lr, "seed": seed} for lr, seed in pairs]
    assert groups[-1]["spreads"]["best"] == {"n": 1, "mean": 0.75, "sd": None, "low": None, "high": None}
    assert (groups[2]["n"], groups[2]["spreads"]) == (1, {})
    text = summarize_runs(sweep, keys=["seed"], columns=["best"], form="csv")
    rows = [(row["seed"], row["n"], row["mean"]) for row in csv.DictReader(text.splitlines())]
    assert rows == [("0", "2", "0.5"), ("1", "2", "0.625")]


def test_summary_has_every_score_of_evaluated_runs(sweep: list[Run], logs: Path, evaluate: Make) -> None:
    columns = list(json.loads(summarize_runs(sweep, form="json"))[0]["spreads"])
    assert columns == ["best", "epochs", "seconds", "best.metrics.val/accuracy"]
    labels = np.array([0, 1, 2, 0])
    for run, predicted in zip(sweep[1:], (labels, labels[::-1]), strict=False):
        evaluate(run, labels, predicted)
    (group,) = json.loads(summarize_runs(find_runs([], logs=logs), form="json"))
    assert group["n"] == 5
    assert group["spreads"]["test.accuracy"]["mean"] == 0.75
    assert group["spreads"]["test.per_class.Plum/Damson.recall"]["n"] == 2
    assert not {"test.n_rows", "best.metrics.val/accuracy"} & group["spreads"].keys()


def test_multirun_summary_needs_a_repeated_seed(make_run: Make, sweep: list, logs: Path, capsys: Any) -> None:
    for job in range(3):
        make_run(f"unique/{job}", lr=0.1 * job, seed=job)
    (logs / "train/multiruns/empty").mkdir()
    for name in ("sweep", "unique", "empty"):
        folder = logs / "train/multiruns" / name
        MultirunSummary().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}}))
        assert ("4 runs: 4 finished" in capsys.readouterr().out) == (folder / "summary.csv").exists()
        assert (folder / "summary.csv").exists() == (name == "sweep")
    summary = pd.read_csv(sweep[0].path.with_name("summary.csv"))
    best = summary[summary["column"] == "best"]
    assert best[[LR, "mean"]].to_numpy().tolist() == [[0.01, 0.5], [0.1, 0.625]]


@pytest.mark.slow
def test_multirun_over_seeds_is_summarized(tensors: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    command = [
        *(sys.executable, "src/train.py", "-m", "seed=range(0,3)", "experiment=mlp", "trainer=cpu"),
        *("trainer.max_epochs=1", "model.net.hidden=[8]", "data.batch_size=32", "logger=csv"),
        *("trainer.log_every_n_steps=5", f"pipeline.paths.processed={tensors}", f"hydra.sweep.dir={folder}"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "3 runs: 3 finished\nThey differ in seed (0, 1, 2)\n" in done.stdout
    runs = sorted(find_runs([folder], logs=tmp_path), key=lambda run: run.name)
    assert all(
        run.path.name.startswith(f"{i}_mlp_") and f"_seed-{i}" in run.name for i, run in enumerate(runs)
    )
    values = [run.record["best"]["metrics"]["val/recall/Plum"] for run in runs]
    n, mean, *others = pd.read_csv(folder / "summary.csv", index_col="column").loc[
        "best.metrics.val/recall/Plum"
    ]
    assert (n, mean) == (3, pytest.approx(np.mean(values)))
    interval = stats.t.interval(0.95, 2, mean, stats.sem(values))
    assert others == pytest.approx([stats.tstd(values), *interval])
