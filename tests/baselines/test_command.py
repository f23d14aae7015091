"""The command that trains baselines: runs that are listed and compared, a report, plain messages."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


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
    assert {run["name"].rpartition("/")[2]: run["status"] for run in listed} == dict.fromkeys(
        report, "finished"
    )
    assert "McNemar" in execute(project, "compare", *(report[name]["run"] for name in report)).stdout
    predictions = f"predictions={report['constant']['run']}/evaluation/predictions_test.parquet"
    net = train(project, "models=logistic_regression", predictions)[1]["logistic_regression"]["net"]
    assert net["accuracy_difference"] < 0
    assert net["interval"][0] < net["interval"][1] < 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("models=[lightgb]", "models must be some of constant, .*, or all; got 'lightgb'\n"),
        ("predictions=no.parquet", "The predictions no.parquet must exist"),
    ],
)
def test_mistakes_end_with_one_line(project: Path, argument: str, message: str) -> None:
    done = execute(project, "baselines", "models=constant", argument, code=1)
    assert re.search(f"^Error: {message}", done.stderr, re.MULTILINE), done.stderr


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
    assert "A sweep to export must be of src/train.py; got one of src/baselines.py" in refused.stderr
