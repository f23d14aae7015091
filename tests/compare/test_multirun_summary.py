import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf
from scipy import stats

from canopy.compare.multirun_summary import MultirunSummary, repeated_keys
from canopy.runs.listed import find_runs

ROOT = Path(__file__).parents[2]
Make = Callable[..., Path]


def end(folder: Path) -> None:
    MultirunSummary().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}}))


@pytest.mark.slow
def test_a_multirun_over_seeds_is_summed_up(tensors: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    command = [
        *(sys.executable, "src/train.py", "-m", "seed=range(0,5)", "experiment=mlp", "trainer=cpu"),
        *("trainer.max_epochs=1", "model.net.hidden=[8]", "data.batch_size=32", "logger=csv"),
        *("trainer.log_every_n_steps=5", f"pipeline.paths.processed={tensors}", f"hydra.sweep.dir={folder}"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "5 runs: 5 finished\nThey differ in seed (0, 1, 2, 3, 4)\n" in done.stdout
    runs = find_runs([folder], logs=tmp_path)
    assert sorted(run.path.name for run in runs)[2].startswith("2_mlp_")
    assert all(f"_seed-{run.path.name[0]}" in run.path.name for run in runs)
    summary = pd.read_csv(folder / "summary.csv", index_col="column")
    for name in ("val/accuracy", "val/nll", "val/macro_f1", "val/recall/Plum"):
        values = [run.record["best"]["metrics"][name] for run in runs]
        row = summary.loc[f"best.metrics.{name}"]
        assert (row["n"], row["mean"]) == (5, pytest.approx(sum(values) / 5))
        assert row["sd"] == pytest.approx(stats.tstd(values))
        interval = stats.t.interval(0.95, 4, row["mean"], stats.sem(values))
        assert (row["low"], row["high"]) == pytest.approx(interval)


def test_groups_are_runs_that_differ_in_the_seed_alone(
    make_run: Make, logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for job, (lr, seed) in enumerate([(0.1, 0), (0.1, 1), (0.01, 0), (0.01, 1)]):
        make_run(f"sweep/{job}", lr=lr, seed=seed, score=lr + seed)
    make_run("sweep/4", lr=0.01, seed=2, status="failed")
    folder = logs / "train/multiruns/sweep"
    end(folder)
    assert "4 runs: 4 finished" in capsys.readouterr().out
    summary = pd.read_csv(folder / "summary.csv")
    best = summary[summary["column"] == "best"]
    assert best["model.optimizer.lr"].tolist() == [0.01, 0.1]
    assert best["mean"].tolist() == pytest.approx([0.51, 0.6])


def test_without_repeated_seeds_there_is_no_summary(
    make_run: Make, logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = logs / "train/multiruns/sweep"
    folder.mkdir(parents=True)
    end(folder)
    for job in range(3):
        make_run(f"sweep/{job}", lr=0.1 * job, seed=job)
    end(folder)
    assert capsys.readouterr().out == ""
    assert not (folder / "summary.csv").exists()
    assert repeated_keys(find_runs([folder], logs=logs)) is None
