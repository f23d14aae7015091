"""The command as a user types it, on a small table: kill, resume, compare, export, sweep."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
from optuna.trial import TrialState

from canopy.files import sha256
from canopy.runs.find import CROSS_VALIDATION, OUT_OF_FOLD
from canopy.runs.run import RECORD, Run
from packages import environment, execute, served
from sweep_app import App

pytestmark = pytest.mark.slow
SCRIPT = "../../src/cross_validate.py"
# One core, so that folds come one after the other.
LONG = ("split.n_folds=3", "trainer.max_epochs=150", "callbacks.early_stopping=null")
KILL = (*LONG, "callbacks.resume_checkpoint.every_n_seconds=0.2", "n_jobs=1")


@pytest.fixture
def penguins(tmp_path: Path, copy_project: Callable[..., None]) -> Path:
    copy_project(tmp_path, "configs", "src", "scripts", "params.yaml", "datasets")
    folder = tmp_path / "datasets/penguins"
    execute("python", "../../scripts/fetch.py", folder=folder)
    return folder


def cross_validate(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return execute("python", SCRIPT, *words, folder=folder, check=check)


def wait_until(condition: Callable[[], bool], seconds: int = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_while_training(folder: Path) -> Path:
    """Kill the command while its first fold trains; give the folder of the cross-validation."""
    command, env = [sys.executable, SCRIPT, *KILL], environment(folder)
    with (folder / "killed.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    wait_until(lambda: bool([*folder.glob("logs/cross_validate/runs/*/fold_0/checkpoints/last.ckpt")]))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (run,) = (folder / "logs/cross_validate/runs").iterdir()
    wait_until(lambda: Run(run / "fold_0").status != "running", seconds=60)
    return run


def test_folds_are_resumed_compared_exported_and_served(penguins: Path) -> None:
    run = kill_while_training(penguins)
    assert Run(run / "fold_0").status == "stopped", "its process has saved its state"
    assert not (run / CROSS_VALIDATION).exists()
    (home,) = (path for path in (penguins / "data/folds").iterdir() if path.is_dir())
    # Tensors that are not whole.
    (home / "fold_1").mkdir()
    failed = cross_validate(penguins, *KILL, "resume=auto", check=False)
    assert failed.returncode == 1
    assert "fold 1: data/folds" in failed.stderr
    assert "fold 0" not in failed.stderr
    assert f"resume=logs/cross_validate/runs/{run.name}" in failed.stderr
    assert not (run / CROSS_VALIDATION).exists()
    record = Run(run / "fold_0").record
    assert [record["status"], len(record["commands"])] == ["finished", 2]
    weights = {fold: sha256(run / fold / "checkpoints/best.ckpt") for fold in ("fold_0", "fold_2")}
    (home / "fold_1").rmdir()

    refused = cross_validate(penguins, f"resume={run}", "seed=3", check=False)
    assert "must keep its config; got seed=3" in refused.stderr
    shutil.rmtree(home / "fold_2")
    done = cross_validate(penguins, f"resume={run}")
    assert "3 folds, 344 rows" in done.stdout
    assert "2 of 3 folds left" in done.stdout, "the tensors of another one are made again"
    assert weights == {fold: sha256(run / fold / "checkpoints/best.ckpt") for fold in weights}
    assert json.loads((run / RECORD).read_text())["status"] == "finished"
    again = execute("python", "../../src/train.py", f"reproduce={run / 'fold_0'}", folder=penguins)
    assert "to the last bit" in again.stdout, "a run that was killed ends as one that was not"

    tensors = home / "fold_0/processed/train/00000.pt"
    before = tensors.stat().st_mtime_ns
    short = ("split.n_folds=3", "trainer.max_epochs=5", "seed=1", "n_jobs=2", "hydra.run.dir=other")
    cross_validate(penguins, *short)
    assert tensors.stat().st_mtime_ns == before
    compared = execute("python", "../../src/compare.py", "other", str(run), folder=penguins).stdout
    assert "corrected resampled t-test" in compared
    assert "On all 344 rows" in compared
    mixed = execute("python", "../../src/compare.py", "other", "other/fold_0", folder=penguins, check=False)
    assert "A cross-validation must be compared with another one" in mixed.stderr
    listed = execute("python", "../../src/runs.py", str(run), folder=penguins).stdout
    assert all(f"fold_{fold}" in listed for fold in range(3))

    bundle, output = ("output=models/cv", "output=predictions.csv")
    execute("python", "../../src/export.py", f"run={run}", bundle, folder=penguins)
    words = ("bundle=models/cv", "input=data/raw/penguins.csv", output)
    execute("python", "../../src/predict.py", *words, folder=penguins)
    predicted = pd.read_csv(penguins / "predictions.csv")
    rows = pd.read_parquet(run / OUT_OF_FOLD)
    agree = predicted["label"].to_numpy() == np.array(["Adelie", "Chinstrap", "Gentoo"])[rows["predicted"]]
    assert agree.mean() > 0.9
    manifest = json.loads((penguins / "models/cv/model.json").read_text())
    whole = json.loads((run / CROSS_VALIDATION).read_text())["out_of_fold"]
    assert manifest["metrics"]["test"] == whole
    card = (penguins / "models/cv/MODEL_CARD.md").read_text()
    assert "The rows were split into 3 folds by the method `stratified`." in card
    assert f"| accuracy | higher | {whole['accuracy']:.4f} |" in card
    assert card.count(" ± ") > 3
    table = (penguins / "data/raw/penguins.csv").read_bytes()
    (penguins / "logs").mkdir(exist_ok=True)
    with served(penguins, "../../src/serve.py", ("bundle=models/cv",)) as url:
        answer = requests.post(f"{url}/predict/csv", table, headers={"Content-Type": "text/csv"}, timeout=60)
        assert answer.ok
        assert len(answer.text.splitlines()) == len(predicted) + 1
        assert requests.get(f"{url}/model", timeout=60).ok


def test_a_sweep_optimises_the_mean_over_folds_and_prunes_by_fold(penguins: Path, tmp_path: Path) -> None:
    app, source = App(penguins / "logs", Path(SCRIPT), cwd=penguins), {"PYTHONPATH": str(tmp_path / "src")}
    options = ("hydra/sweeper/pruner=none", "objective.returns=[best.score]")
    sweep = ("sweep=mlp", "split.n_folds=2", "trainer.max_epochs=2", "hydra.sweeper.n_trials=1", *options)
    app.run(*sweep, **source)
    (trial,) = app.trials()
    folder = penguins / trial.user_attrs["run"]
    scores = [Run(folder / f"fold_{fold}").record["best"]["score"] for fold in (0, 1)]
    assert trial.value == pytest.approx(np.mean(scores))
    assert trial.intermediate_values == pytest.approx({1: scores[0], 2: np.mean(scores)})
    pruner = ("hydra.sweeper.pruner._target_=optuna.pruners.ThresholdPruner", "+hydra.sweeper.pruner.lower=2")
    app.run(*sweep, *pruner, "hydra.sweeper.n_trials=2", **source)
    pruned = app.trials()[1]
    assert pruned.state == TrialState.PRUNED
    assert [*pruned.intermediate_values] == [1]
    assert not (penguins / pruned.user_attrs["run"] / "fold_1").exists()
    assert len([path for path in (penguins / "data/folds").iterdir() if path.is_dir()]) == 1
    shown = execute("python", "../../src/sweep.py", "s", "--storage", app.url, folder=penguins).stdout
    assert "Its folds: " in shown


def test_mistakes_are_answered_in_a_line(penguins: Path) -> None:
    for words, message in (
        ([], "split.n_folds must be an integer >= 2; got None: add split.n_folds=5"),
        (["split.n_folds=3", "n_jobs=0"], "n_jobs must be an integer >= 1, or null; got 0"),
        (["split.n_folds=3", "publish.run=a"], "A cross-validation takes no publish.run; got a"),
        (["split.n_folds=3", "trainer=ddp_sim"], "trainer.devices must be 1, for each fold; got 2"),
        (["split.n_folds=3", "sweep=mlp"], "A sweep must be a multirun"),
        (["resume=nowhere"], "A folder to resume must hold cross_validation.yaml; found none in nowhere"),
    ):
        done = cross_validate(penguins, *words, check=False)
        assert (done.returncode, message in done.stderr) == (1, True), done.stderr
        assert "Traceback (most" not in done.stderr
    shutil.rmtree(penguins / "data")
    done = cross_validate(penguins, "split.n_folds=3", check=False)
    assert 'data/raw/penguins.csv must exist; found no such file; run "make repro" first' in done.stderr
