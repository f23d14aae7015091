import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from canopy.baselines.baselines import BASELINES, Fitted, choose, read_predictions
from canopy.baselines.rows import Rows, as_rows
from canopy.evaluation.inference import Predictor
from canopy.runs.run import Run
from packages import ROOT
from schemas import class_task

SETTINGS = {
    "random_forest": {"n_estimators": 20},
    "xgboost": {"n_estimators": 30, "early_stopping_rounds": 5},
    "lightgbm": {"n_estimators": 30, "early_stopping_round": 5},
    "catboost": {"iterations": 30, "early_stopping_rounds": 5},
}


@pytest.fixture
def project(tmp_path: Path, tensors: Path) -> Path:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["paths"] |= {"processed": str(tensors), "configs": str(ROOT / "configs")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return tmp_path


def execute(folder: Path, script: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src" / f"{script}.py"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def train(folder: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """Train baselines; give what is printed, and the report."""
    printed = execute(folder, "baselines", *arguments, "report=b.json").stdout
    return printed, json.loads((folder / "b.json").read_text())


def test_baselines_are_runs_with_scores(project: Path) -> None:
    printed, report = train(project, "models=[logistic_regression,constant]", "seed=1")
    assert [*report] == ["logistic_regression", "constant"]
    # A third each.
    assert report["constant"]["test"]["nll"] == pytest.approx(1.0986, abs=1e-3)
    assert report["logistic_regression"]["test"]["accuracy"] > 0.5
    assert printed.index("Logistic regression  ") < printed.index("Constant guess  ")
    listed = json.loads(execute(project, "runs", "--json").stdout)
    statuses = {run["name"].rpartition("/")[2]: run["status"] for run in listed}
    assert statuses == dict.fromkeys(report, "finished")
    assert "McNemar" in execute(project, "compare", *(report[name]["run"] for name in report)).stdout
    predictions = f"predictions={report['constant']['run']}/evaluation/predictions_test.parquet"
    net = train(project, "models=logistic_regression", predictions)[1]["logistic_regression"]["net"]
    assert net["accuracy_difference"] < 0
    assert net["interval"][0] < net["interval"][1] < 0
    with pytest.raises(FileNotFoundError, match="The checkpoint .*best.ckpt must exist; .*baselines have"):
        Predictor(Run(project / report["constant"]["run"]), batch_size=1)


def test_unknown_model_and_missing_predictions_are_named() -> None:
    with pytest.raises(ValueError, match="models must be some of constant, .*, or all; got 'lightgb'"):
        choose(["lightgb"], class_task("a", "b"))
    with pytest.raises(FileNotFoundError, match="The predictions no.parquet must exist; .*evaluate a run"):
        read_predictions(Path("no.parquet"))


@pytest.mark.slow
def test_a_sweep_finds_settings_and_prints_the_command_that_trains_them(project: Path) -> None:
    execute(project, "baselines", "-m", "sweep=lightgbm", "hydra.sweeper.n_trials=3")
    shown = execute(project, "sweep", "lightgbm").stdout
    assert "3 complete" in shown
    best = re.search(r"Best value (\S+), trial", shown)
    line = re.search("Reproduce it: python (.*)", shown)
    script, *arguments = shlex.split(line[1])
    assert Path(script).name == "baselines.py"
    _, report = train(project, *arguments)
    assert report["lightgbm"]["val"]["nll"] == pytest.approx(float(best[1]), rel=1e-3)
    refused = execute(project, "sweep", "lightgbm", "--best", "own", code=1)
    assert "An experiment must be of a sweep of src/train.py; got one of src/baselines.py" in refused.stderr


def make(n_rows: int, seed: int, *, classes: tuple[int, ...]) -> Rows:
    """Rows whose class shows in a number and in a category of many; training lacks some categories."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, n_rows)
    numeric = np.stack([labels + random.normal(0, 0.3, n_rows), random.normal(size=n_rows)], axis=1)
    codes = np.stack([(labels + random.integers(0, 2, n_rows)) % 4, random.integers(0, 701, n_rows)], axis=1)
    return as_rows(numeric.astype(np.float32), codes, labels, cardinalities=(4, 700))


@pytest.mark.parametrize("name", [name for name, found in BASELINES.items() if found.classifier])
def test_baseline_learns_and_gives_every_class_a_probability(name: str) -> None:
    # Class 1 has no training row, and class 3 none but in validation.
    train, val = make(300, 0, classes=(0, 2)), make(80, 1, classes=(0, 2, 3))
    features, labels, _ = make(80, 2, classes=(0, 2))
    options = {"task": class_task(*"abcd"), "seed": 3, "settings": SETTINGS.get(name, {})}
    first, second = (Fitted(BASELINES[name], train, val, **options).predict(features) for _ in range(2))
    assert first.shape == (80, 4)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-6)
    assert not first[:, [1, 3]].any()
    assert (first.argmax(axis=1) == labels).mean() > 0.9 or name == "constant"
    np.testing.assert_array_equal(first, second, err_msg="the same seed gives the same predictions")
