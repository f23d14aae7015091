import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from mlflow import MlflowClient

from canopy.export.registry import Registry
from canopy.runs.run import Run
from packages import ROOT, environment, execute, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("trusted_targets"),
    # MLflow itself.
    pytest.mark.filterwarnings("ignore:.*Any type hint"),
]


def test_a_registered_bundle_is_served_by_its_alias(
    evaluated_run: Run, tracked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(tracked, tracked)
    run_id = client.create_run(client.create_experiment("fruit")).info.run_id
    path = evaluated_run.path / "run.json"
    trackers = {"logger.mlflow": {"run_id": run_id}}
    path.write_text(json.dumps({**evaluated_run.record, "trackers": trackers}))
    options = [f"run={evaluated_run.path}", "register=fruit@champion", f"output={tmp_path}/bundle"]
    done = execute(sys.executable, "src/export.py", *options, folder=ROOT)
    assert "Registered version 1 of the model fruit: bundle=models:/fruit@champion" in done.stdout
    version = client.get_model_version_by_alias("fruit", "champion")
    assert (version.version, version.run_id) == ("1", run_id)
    table = pd.read_csv(tmp_path / "raw.csv").drop(columns="kind")
    table.to_csv(tmp_path / "rows.csv", index=False)
    uri = "models:/fruit@champion"
    for bundle, name in ((uri, "a.csv"), (f"{tmp_path}/bundle", "b.csv")):
        given = [f"bundle={bundle}", f"input={tmp_path}/rows.csv", f"output={tmp_path}/{name}"]
        execute(sys.executable, "src/predict.py", *given, folder=ROOT)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    with served(ROOT, options=(f"bundle={uri}",)) as url:
        found = requests.get(f"{url}/model", timeout=60).json()
    assert found["files"] == json.loads((tmp_path / "bundle/model.json").read_text())["files"]
    # As a model of MLflow: what the signature asks for, by the same code.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked)
    # Not above, where it would be imported before the warning is ignored.
    from mlflow import pyfunc

    model = pyfunc.load_model(uri)
    inputs = model.metadata.get_input_schema()
    assert {*inputs.input_names()} <= {*table.columns}
    rows = table.astype(dict(zip(inputs.input_names(), inputs.pandas_types(), strict=True)))
    predicted, expected = model.predict(rows), pd.read_csv(tmp_path / "a.csv", dtype={"label": str})
    outputs = model.metadata.get_output_schema()
    assert [*predicted.columns] == outputs.input_names()
    kinds = ["double" if pd.api.types.is_float_dtype(kind) else "string" for kind in predicted.dtypes]
    assert [kind.name for kind in outputs.input_types()] == kinds
    pd.testing.assert_frame_equal(predicted, expected, check_dtype=False, atol=1e-6)
    with pytest.raises(ValueError, match="'weight' must .*; got .* in row 1"):
        model.predict(rows.assign(weight=[1.0, float("nan")] * (len(rows) // 2)))


def test_a_bundle_of_the_local_registry_predicts_a_folder(
    evaluated_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    table = pd.read_csv(tmp_path / "raw.csv").drop(columns="kind")
    for name in ("rows/a.csv", "rows/b.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        table.to_csv(tmp_path / name, index=False)

    def run(script: str, *options: str) -> str:
        command = [sys.executable, f"{ROOT}/src/{script}.py", *options]
        given = {"cwd": tmp_path, "env": environment(ROOT), "check": True, "text": True}
        return subprocess.run(command, stdout=subprocess.PIPE, **given).stdout

    options = (f"run={evaluated_run.path}", "register=pear@prod", "output=bundle")
    assert "bundle=models:/pear@prod" in run("export", *options)
    for bundle, output in (("models:/pear@prod", "found"), ("bundle", "expected")):
        run("predict", f"bundle={bundle}", "input=rows", f"output={output}/", "engine.n_processes=2")
    found, expected = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("found", "expected")
    )
    assert [*sorted(found)] == ["_model.json", "a.csv.parquet", "b.csv.parquet"]
    assert found == expected


@pytest.mark.parametrize("target", ["", "a/b", "fruit@", "@champion"])
def test_a_target_that_is_no_name_and_alias_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="register must be NAME@ALIAS or NAME, such as wine@champion; got"):
        Registry(target)


def test_a_model_that_is_not_registered_is_an_error_of_one_line(tracked: str) -> None:
    given = ["bundle=models:/absent@champion", "input=a.csv", "output=b.csv"]
    done = execute(sys.executable, "src/predict.py", *given, folder=ROOT, check=False)
    assert "Error: models:/absent@champion must be a model of the registry at http" in done.stderr
    assert "Traceback (most" not in done.stderr


def test_a_run_that_is_not_on_the_server_gets_one_of_its_own(tracked: str, export_run: Any) -> None:
    registry = Registry("pear")
    assert registry.register(export_run(), {"trackers": {"logger.mlflow": {"run_id": "0" * 32}}}) == 1
    version = MlflowClient(tracked, tracked).get_model_version("pear", "1")
    assert version.run_id != "0" * 32
    assert registry.register(export_run(), {}) == 2
