import csv
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.callbacks import LambdaCallback
from mlflow import MlflowClient
from mlflow.entities import Run as TrackedRun
from omegaconf import DictConfig, OmegaConf

from canopy.runs.environment import git_sha
from canopy.runs.fit import fit
from canopy.runs.run import Run
from canopy.runs.trackers import start_trackers
from canopy.training.fit import prepare
from packages import ROOT, composed, execute, free_port
from sweep_app import App

pytestmark = [
    pytest.mark.usefixtures("trusted_targets"),
    # MLflow itself, with SQLAlchemy 2.1.
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]


def runs(uri: str, **tags: str) -> list[TrackedRun]:
    client = MlflowClient(uri)
    wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    return client.search_runs([item.experiment_id for item in client.search_experiments()], wanted)


def add_logger(config: DictConfig) -> None:
    found = composed("train", "logger=mlflow").logger.mlflow
    OmegaConf.update(config, "logger.mlflow", found, force_add=True)


@pytest.mark.slow
def test_a_killed_run_continues_in_its_tracked_run(command: Any, tracked: str, tmp_path: Path) -> None:
    command.kill_and_resume("logger=[default,mlflow]", "seed=7")
    run = Run(command.folder)
    (found,) = runs(tracked, run_folder=str(command.folder))
    assert run.record["trackers"] == {"logger.mlflow": {"run_id": found.info.run_id}}
    assert found.info.status == "FINISHED"
    assert found.data.tags["git_commit"] == git_sha()
    assert found.data.tags["experiment"] == OmegaConf.load(ROOT / "params.yaml").train.experiment
    assert found.data.params["model.optimizer.lr"] == str(run.config.model.optimizer.lr)
    client = MlflowClient(tracked)
    assert [item.path for item in client.list_artifacts(found.info.run_id, "plots")] == [
        "plots/confusion_matrix_val.png"
    ]
    place = client.download_artifacts(found.info.run_id, "config.yaml", str(tmp_path))
    config = yaml.safe_load(Path(place).read_text())
    assert (config["seed"], config["trainer"]["max_epochs"]) == (7, 12)
    # As the CSV file: neither a hole nor a duplicate.
    with (command.folder / "csv/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("train/loss", "val/nll"):
        history = client.get_metric_history(found.info.run_id, name)
        expected = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        assert [(item.step, item.value) for item in history] == expected
    assert found.data.metrics["best/accuracy"] == run.record["best"]["score"]


@pytest.mark.slow
def test_evaluation_logs_to_the_tracked_run(
    train_config: DictConfig, server: Any, tracked: str, tmp_path: Path
) -> None:
    add_logger(train_config)
    fit(train_config)
    run = train_config.run_folder
    execute(sys.executable, "src/evaluate.py", f"run={run}", "logger=mlflow", "trainer=cpu", folder=ROOT)
    (found,) = runs(tracked, run_folder=run)
    client = MlflowClient(tracked)
    (item,) = client.get_metric_history(found.info.run_id, "test/nll")
    # Validation scores are logged once more, in the same place.
    assert {item.step} < {item.step for item in client.get_metric_history(found.info.run_id, "val/nll")}
    expected = Run(run).metrics["test"]["accuracy"]
    assert found.data.metrics["test/accuracy"] == pytest.approx(expected, abs=1e-6)
    plots = {item.path for item in client.list_artifacts(found.info.run_id, "plots")}
    assert {"plots/confusion_matrix_test.png", "plots/calibration_val.png"} <= plots


@pytest.mark.slow
def test_runs_of_a_sweep_are_nested_in_one(tensors: Path, tmp_path: Path) -> None:
    """Whose workers also create a local database at the same time."""
    app, store = App(tmp_path, ROOT / "src/train.py"), f"sqlite:///{tmp_path}/logs/mlflow.db"
    app.run(
        *("sweep=mlp", "trainer=cpu", "trainer.max_epochs=1", "logger=[default,mlflow]"),
        *(f"pipeline.paths.processed={tensors}", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2"),
        MLFLOW_TRACKING_URI=store,
    )
    nested = runs(store, sweep=str(tmp_path / "sweep"))
    assert len(nested) == 3
    (parent,) = {run.data.tags["mlflow.parentRunId"] for run in nested}
    found = MlflowClient(store).get_run(parent)
    assert (found.info.run_name, found.info.status) == ("sweep", "FINISHED")


@pytest.mark.slow
def test_a_server_that_is_away_for_a_while_misses_nothing(
    train_config: DictConfig,
    server: Any,
    tracked: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("canopy.training.loggers.mlflow.RETRY_SECONDS", 0)
    caplog.set_level("INFO")
    add_logger(train_config)
    train_config.trainer.max_epochs = 4
    events = {1: server.stop, 3: server.start}
    change = LambdaCallback(on_train_epoch_start=lambda trainer, _: events.pop(trainer.current_epoch, int)())
    training = prepare(train_config, change)
    (option,) = start_trackers(training.loggers, train_config).values()
    training.fit()
    assert "MLflow does not answer: training continues" in caplog.text
    assert "MLflow answers again" in caplog.text
    history = MlflowClient(tracked).get_metric_history(option["run_id"], "val/nll")
    assert [item.step for item in history] == [9, 19, 29, 39]


def test_a_tracker_that_does_not_start_ends_the_others(train_config: DictConfig, tracked: str) -> None:
    add_logger(train_config)
    other = {**train_config.logger.mlflow, "tracking_uri": f"http://127.0.0.1:{free_port()}"}
    OmegaConf.update(train_config, "logger.other", other, force_add=True)
    with pytest.raises(ConnectionError, match="needs a server that answers"):
        fit(train_config)
    (found,) = runs(tracked, run_folder=train_config.run_folder)
    assert found.info.status == "FAILED"


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("", "logger=mlflow needs a server that answers at http://127.* got .*Connection refused"),
        ("ann:planted@", r"found http://ann:\*\*\*@127.*: MLFLOW_TRACKING_USERNAME and .* are for them"),
    ],
)
def test_a_server_that_is_away_at_the_start_and_a_password_in_its_address_are_errors(
    train_config: DictConfig, monkeypatch: pytest.MonkeyPatch, user: str, message: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{user}127.0.0.1:{free_port()}")
    add_logger(train_config)
    with pytest.raises((ConnectionError, ValueError), match=message):
        fit(train_config)
