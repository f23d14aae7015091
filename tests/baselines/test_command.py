"""The command that trains baselines: runs that are listed and compared, a report, plain messages."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, tensors: Path) -> Path:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["paths"] |= {"processed": str(tensors), "configs": str(ROOT / "configs")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return tmp_path


def execute(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src" / f"{script}.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_baselines_are_runs_with_scores(project: Path) -> None:
    done = execute(project, "baselines", "models=[logistic_regression,constant]", "report=b.json", "seed=1")
    assert done.returncode == 0, done.stderr
    report = json.loads((project / "b.json").read_text())
    assert [*report] == ["logistic_regression", "constant"]
    # A third each.
    assert report["constant"]["test"]["nll"] == pytest.approx(1.0986, abs=1e-3)
    assert report["logistic_regression"]["test"]["accuracy"] > 0.5
    assert done.stdout.index("Logistic regression  ") < done.stdout.index("Constant guess  ")
    listed = json.loads(execute(project, "runs", "--json").stdout)
    assert {run["name"].rpartition("/")[2]: run["status"] for run in listed} == {
        "logistic_regression": "finished",
        "constant": "finished",
    }
    compared = execute(project, "compare", *(report[name]["run"] for name in report))
    assert compared.returncode == 0, compared.stderr
    assert "McNemar" in compared.stdout
    predictions = f"predictions={report['constant']['run']}/evaluation/predictions_test.parquet"
    done = execute(project, "baselines", "models=logistic_regression", "report=b.json", predictions)
    assert done.returncode == 0, done.stderr
    net = json.loads((project / "b.json").read_text())["logistic_regression"]["net"]
    assert net["accuracy_difference"] < 0
    assert net["interval"][0] < net["interval"][1] < 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models=[lightgb]"], "models must be some of constant, .* got 'lightgb' .did you mean 'lightgbm'"),
        (["predictions=no.parquet", "models=constant"], "The predictions no.parquet must exist"),
        (["settings.constant.depth=3"], "Key 'depth' is not in struct"),
    ],
)
def test_mistakes_end_with_one_line(project: Path, arguments: list[str], message: str) -> None:
    done = execute(project, "baselines", *arguments)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert any(re.search(message, line) for line in lines), done.stderr
    assert len(lines) <= 5


@pytest.mark.slow
def test_a_sweep_finds_settings_and_prints_the_command_that_trains_them(project: Path) -> None:
    done = execute(project, "baselines", "-m", "sweep=lightgbm", "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stderr
    shown = execute(project, "sweep", "lightgbm")
    assert "3 complete" in shown.stdout
    best = re.search(r"Best value (\S+), trial", shown.stdout)
    assert best is not None, shown.stdout
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("Reproduce it: ")]
    script, *arguments = shlex.split(line.removeprefix("Reproduce it: python "))
    assert Path(script).name == "baselines.py"
    again = execute(project, "baselines", *arguments, "report=b.json")
    assert again.returncode == 0, again.stderr
    report = json.loads((project / "b.json").read_text())
    assert report["lightgbm"]["val"]["nll"] == pytest.approx(float(best[1]), rel=1e-3)
    refused = execute(project, "sweep", "lightgbm", "--best", "own")
    assert refused.returncode == 1
    assert "A sweep to export must be of src/train.py; got one of src/baselines.py" in refused.stderr
