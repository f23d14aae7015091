"""A numeric target through the whole pipeline, by the commands that users type."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
import yaml
from sklearn.datasets import load_diabetes

from packages import INSTALL, execute, served
from test_data_sets import COPIED

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, copy_project: Callable[..., None]) -> Path:
    """A data set that is drafted of a table with numbers, a category and dates, after its pipeline."""
    project = tmp_path_factory.mktemp("project")
    copy_project(project, *COPIED)
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], ["sh", "-c", INSTALL]):
        execute(*command, folder=project)
    table = load_diabetes(as_frame=True, scaled=False).frame
    table["sex"] = table["sex"].map({1.0: "f", 2.0: "m"})
    table["seen"] = pd.date_range("2020-01-01", periods=len(table), freq="D").astype(str)
    table.loc[::9, "bmi"] = np.nan
    table["target"] = "$" + table["target"].map("{:,.1f}".format)
    table.loc[::50, "target"] = ""
    table.to_csv(project / "raw.csv", index=False)
    shown = execute(
        "python", "src/init_dataset.py", "raw.csv", "--target", "target", "--name", "cost", folder=project
    )
    assert "a number, 25 to 346: regression, $ left out; 9 rows without a value: dropped" in shown.stdout
    place = project / "datasets/cost/params.yaml"
    params = yaml.safe_load(place.read_text())
    params["train"]["overrides"] += " trainer.max_epochs=8"
    params["normalize"]["target"] = "log1p"
    params["baselines"]["models"] = ["ridge_regression"]
    place.write_text(yaml.safe_dump(params, sort_keys=False))
    assert "Test RMSE" in execute("make", "repro", "DATA=cost", folder=project).stdout
    return place.parent


def test_bundle_gives_the_scores_of_the_report(folder: Path) -> None:
    scores = json.loads((folder / "reports/metrics.json").read_text())["test"]
    assert 0 < scores["r2"] < 1
    assert scores["calibrated"]["coverage_interval"][0] < 0.9 < scores["calibrated"]["coverage_interval"][1]
    assert {*json.loads((folder / "reports/headline.json").read_text())["test"]} == {"rmse", "mae", "r2"}
    [raw] = (folder / "data/raw").glob("*.csv")
    options = ("bundle=models/canopy", f"input={raw}", "output=predicted.csv")
    logged = execute("python", "../../src/predict.py", *options, folder=folder)
    assert "On 433 rows with a label: RMSE" in logged.stdout + logged.stderr
    table, found = pd.read_csv(raw), pd.read_csv(folder / "predicted.csv")
    assert [*found] == ["predicted", "low", "high"]
    true = table["target"].str.lstrip("$").astype(float)
    # Rows without a target are predicted too; the splits leave them out.
    splits = pd.read_csv(folder / "data/interim/split.csv").iloc[:, 0]
    tested = np.flatnonzero(true.notna())[(splits == "test").to_numpy()]
    error = found["predicted"][tested] - true[tested]
    assert np.sqrt((error**2).mean()) == pytest.approx(scores["rmse"], rel=1e-5)
    inside = (found["low"][tested] <= true[tested]) & (true[tested] <= found["high"][tested])
    assert inside.mean() == pytest.approx(scores["calibrated"]["coverage"], abs=1e-9)
    kept = pd.read_parquet(folder / "reports/predictions_test.parquet")
    np.testing.assert_allclose(kept["label"], true[tested], rtol=2e-5)


def test_server_answers_with_numbers_and_intervals(folder: Path) -> None:
    [raw] = (folder / "data/raw").glob("*.csv")
    with served(folder, "../../src/serve.py") as url:
        done = requests.post(f"{url}/predict/csv", data=raw.read_bytes(), timeout=60)
        assert done.headers["X-Labelled-Rows"] == "433"
        assert float(done.headers["X-Mean-Absolute-Error"]) > 0
        document = requests.get(f"{url}/openapi.json", timeout=60).json()
        body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
        found = requests.post(f"{url}/explain", json=body, timeout=60).json()
        assert found["interval"][0] < found["predicted"] < found["interval"][1]
        assert {item["feature"] for item in found["contributions"]} >= {"bmi", "sex", "seen"}
        [*_, drift] = requests.get(f"{url}/drift", timeout=60).json()["columns"]
    assert (drift["name"], drift["kind"]) == ("target", "predictions")
    assert len(drift["bins"]) == len(drift["found"]) == 10


def test_runs_are_compared_swept_and_refused_what_is_of_classes(folder: Path) -> None:
    command = ("python", "../../src/train.py", "trainer.max_epochs=2", "model.net.members.periodic.width=32")
    options = ("hydra.sweeper.direction=minimize", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1")
    sweep = (
        "-m",
        "hydra/sweeper=optuna",
        *options,
        "+hydra.sweeper.params={model.optimizer.lr:'range(0.001,0.02)'}",
    )
    execute(*command, "preset=best", "name=best", folder=folder)
    execute(*command, "model/loss=huber", "name=huber", folder=folder)
    runs = [next((folder / "logs/train/runs").glob(f"*_{name}")) for name in ("best", "huber")]
    for run in runs:
        execute("python", "../../src/evaluate.py", f"run={run}", folder=folder)
    shown = execute("python", "../../src/compare.py", *map(str, runs), folder=folder).stdout
    assert "Nearer to the label: A in" in shown
    assert "RMSE" in shown.splitlines()[-1]
    assert "test.rmse" in execute("python", "../../src/runs.py", folder=folder).stdout
    execute(*command, *sweep, folder=folder)
    for refused, reason in (
        ("model.class_weights=balanced", "model.class_weights must be none for a numeric target"),
        ("objective.monitor=val/accuracy", "it has val/mae, val/r2, val/rmse"),
    ):
        done = execute(*command, refused, folder=folder, check=False)
        assert reason in done.stderr
        assert done.returncode
