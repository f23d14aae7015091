import csv
import json
import multiprocessing
import os
import random
import re
import shlex
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import LambdaCallback
from mlflow import MlflowClient
from omegaconf import DictConfig, OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from canopy.runs.fit import fit
from canopy.runs.resume import choose_run_folder, resumed_config
from canopy.runs.run import LAST_CHECKPOINT, Run
from canopy.training.checkpoint import load_checkpoint
from canopy.training.fit import prepare
from engine_calls import fit_from_terminal

pytestmark = pytest.mark.usefixtures("trusted_targets")

N_KILLS = 10
# A server that has imported torch once and trained nothing.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["canopy.runs.fit", "tensorboard.summary"])


def start(config: DictConfig) -> BaseProcess:
    process = PROCESSES.Process(target=fit_from_terminal, args=(config,))
    process.start()
    return process


@pytest.fixture
def long_config(train_config: DictConfig) -> DictConfig:
    """A run of some seconds in which each batch draws random numbers and is followed by a checkpoint."""
    train_config.trainer.max_epochs = 40
    train_config.data.batch_size = 8
    train_config.model.net.dropout = 0.2
    train_config.callbacks.resume_checkpoint.every_n_seconds = 0
    train_config.callbacks.early_stopping.patience = 100
    return train_config


def in_folder(config: DictConfig, folder: Path, resume: str | None = None) -> DictConfig:
    folder.mkdir()
    config = config.copy()
    config.update(run_folder=str(folder), resume=resume)
    return config


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv/metrics.csv").open(newline="") as file:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    return sorted(rows, key=lambda row: (int(row["step"]), sorted(row)))


def events(folder: Path) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars("train/loss")]


def assert_same_run(folder: Path, reference: Path) -> None:
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        found, expected = (load_checkpoint(path / name) for path in (folder, reference))
        assert found["global_step"] == expected["global_step"]
        torch.testing.assert_close(found["state_dict"], expected["state_dict"], rtol=0, atol=0)
    assert curve(folder) == curve(reference)
    assert events(folder) == events(reference)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_weights(
    long_config: DictConfig, tmp_path: Path
) -> None:
    fit(in_folder(long_config, tmp_path / "reference"))
    killed = in_folder(long_config, tmp_path / "killed", resume=str(tmp_path / "killed"))
    last = tmp_path / "killed/checkpoints/last.ckpt"
    generator = random.Random(0)
    steps = []
    for _ in range(N_KILLS):
        process = start(killed)
        # The first checkpoint is that of the step it resumed from; the first step of a process takes longest.
        for _ in range(2):
            before = last.stat().st_mtime_ns if last.exists() else 0
            while process.is_alive() and (not last.exists() or last.stat().st_mtime_ns == before):
                time.sleep(0.002)
        time.sleep(generator.uniform(0, 0.4))
        assert process.is_alive(), "the run must be long enough for all kills"
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        steps.append(load_checkpoint(last)["global_step"])
    assert steps == sorted(steps)
    assert len(set(steps)) > N_KILLS // 2
    process = start(killed)
    process.join()
    assert process.exitcode == 0
    assert_same_run(tmp_path / "killed", tmp_path / "reference")
    record = Run(tmp_path / "killed").record
    assert record["status"] == "finished"
    assert len(record["commands"]) == N_KILLS + 1
    seconds, total = record["seconds"], record["training"]["train_seconds"]
    assert seconds["training"] + seconds["validation"] == pytest.approx(total, abs=0.03)
    assert min(seconds.values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_saves_the_state(long_config: DictConfig, tmp_path: Path, number: signal.Signals) -> None:
    long_config.callbacks.resume_checkpoint.every_n_seconds = 1000
    process = start(long_config)
    folder = Path(long_config.run_folder)
    while not (folder / "checkpoints/best.ckpt").exists():
        assert process.is_alive()
        time.sleep(0.01)
    time.sleep(0.05)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == 128 + number
    assert Run(folder).record["reason"] == f"stopped by {number.name}"
    long_config.resume = str(folder)
    # TensorBoard orders event files by the second they were made in.
    time.sleep(1.1)
    fit(long_config)
    fit(in_folder(long_config, tmp_path / "reference"))
    assert_same_run(folder, tmp_path / "reference")


def test_what_nohup_ignores_stays_ignored(train_config: DictConfig) -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        hang_up = LambdaCallback(on_train_batch_end=lambda *_: os.kill(os.getpid(), signal.SIGHUP))
        run = prepare(train_config, hang_up)
        run.fit()
        assert run.trainer.current_epoch == 2
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_finished_run_trains_longer_if_asked(train_config: DictConfig) -> None:
    """What a resume changes is kept: killed again, the run continues to its number of epochs."""
    fit(train_config)
    folder = Path(train_config.run_folder)
    run, before = Run(folder), Run(folder).config
    assert before == OmegaConf.create(OmegaConf.to_yaml(train_config))
    train_config.resume = train_config.run_folder
    with pytest.raises(ValueError, match="got trainer.max_epochs=2 reached in .*: give it more with trainer"):
        fit(train_config, overrides=["callbacks.early_stopping.patience=1"])
    assert run.config == before
    fit(train_config, overrides=["trainer.max_epochs=4"])
    assert json.loads((folder / "train.json").read_text())["epochs"] == 4
    assert [row["epoch"] for row in curve(folder) if "val/accuracy" in row] == ["0", "1", "2", "3"]
    assert run.config.trainer.max_epochs == 4
    with pytest.raises(ValueError, match="got trainer.max_epochs=4 reached"):
        fit(train_config)
    assert [command["step"] for command in run.record["commands"]] == [0, 20]


def test_a_run_killed_before_its_copies_are_made_only_makes_them(
    train_config: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_config.publish.update(run=str(tmp_path / "published"), report=str(tmp_path / "train.json"))
    train_config.resume = "auto"
    monkeypatch.setattr("canopy.runs.run_folder.publish", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fit(train_config)
    run = Run(train_config.run_folder)
    assert (run.record["status"], run.record["published"]) == ("finished", False)
    monkeypatch.undo()
    assert fit(train_config) == run.record["best"]["score"]
    assert len(run.record["commands"]) == 1, "it was not trained again"
    published = Run(tmp_path / "published")
    assert published.best_checkpoint.read_bytes() == run.best_checkpoint.read_bytes()
    assert published.record == run.record
    assert "published" not in run.record
    assert json.loads((tmp_path / "train.json").read_text())["epochs"] == 2


@pytest.mark.filterwarnings("ignore:.*noload.*")  # MLflow itself, with SQLAlchemy 2.1
def test_resume_writes_to_the_tracked_run(train_config: DictConfig, tmp_path: Path) -> None:
    """MLflow, with its own database."""
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    logger = {"_target_": "lightning.pytorch.loggers.MLFlowLogger", "tracking_uri": store}
    OmegaConf.update(train_config, "logger.mlflow", logger, force_add=True)
    fit(train_config)
    train_config.resume = train_config.run_folder
    with pytest.raises(ValueError, match="add .* to the command if that is meant") as refused:
        fit(train_config, overrides=["trainer.max_epochs=4"])
    (typed,) = shlex.split(re.search("add (.*) to the command", str(refused.value))[1])
    fit(train_config, overrides=["trainer.max_epochs=4", typed])
    client = MlflowClient(store)
    (tracked,) = client.search_runs([item.experiment_id for item in client.search_experiments()])
    assert tracked.data.params["model.optimizer.lr"] == str(train_config.model.optimizer.lr)
    assert tracked.data.metrics["best/accuracy"] == Run(train_config.run_folder).record["best"]["score"]
    epochs = [item.value for item in client.get_metric_history(tracked.info.run_id, "epoch")]
    assert sorted(set(epochs)) == [0, 1, 2, 3]


def test_resume_keeps_the_rows_of_a_step_on_other_devices(
    train_config: DictConfig, caplog: pytest.LogCaptureFixture
) -> None:
    data = prepare(train_config).data
    data.trainer = SimpleNamespace(world_size=3)
    with pytest.raises(ValueError, match="must keep its 64 rows a step; got 3 devices"):
        data.load_state_dict({"rows_per_step": 64})
    data.trainer.world_size = 1
    data.load_state_dict({"rows_per_step": 64})
    assert data.batch_size == 64
    assert "keeps 64 rows" in caplog.text


def test_resume_of_a_run_of_other_code_names_its_commit_and_the_key_that_is_gone(
    train_config: DictConfig, caplog: pytest.LogCaptureFixture
) -> None:
    fit(train_config)
    run = Run(train_config.run_folder)
    config = run.config
    OmegaConf.update(config, "logger.tensorboard.charts", {"loss": ["val/nll"]}, force_add=True)
    run.save_config(config)
    record = {**run.record, "git": {"commit": "0123abc"}}
    (run.path / "run.json").write_text(json.dumps(record))
    train_config.resume = train_config.run_folder
    with pytest.raises(ValueError, match="logger.tensorboard.charts must be an option of .*; it has folder"):
        fit(train_config, overrides=["trainer.max_epochs=3"])
    assert f"{run.path} was trained by commit 0123abc, not " in caplog.text


def test_a_resume_keeps_config_and_data(train_config: DictConfig, tensors: Path) -> None:
    fit(train_config)
    run = Run(train_config.run_folder)
    changed = resumed_config(run, run.config, ["trainer.max_epochs=9", "callbacks.early_stopping.patience=1"])
    assert (changed.trainer.max_epochs, changed.callbacks.early_stopping.patience) == (9, 1)
    assert resumed_config(run, run.config, ["data.batch_size=32", "seed=42"]) == run.config
    for override in ("seed=1", "model=mlp", "+model.extra=1", "~callbacks.early_stopping"):
        with pytest.raises(ValueError, match=f"must keep its config; found {re.escape(override)}, which"):
            resumed_config(run, run.config, [override])
    schema = json.loads((tensors / "schema.json").read_text())
    schema["sha256"]["train/00000.pt"] = "0" * 64
    (tensors / "schema.json").write_text(json.dumps(schema))
    train_config.resume = str(run.path)
    with pytest.raises(
        ValueError, match=r"trained on data whose train/00000.pt has the SHA-256 .*; found 000000"
    ):
        fit(train_config, overrides=["trainer.max_epochs=5"])


def test_auto_finds_the_unfinished_run_of_the_command(
    train_config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the pipeline does after a kill; its command names an experiment."""
    typed = ["experiment=default", "resume=auto", "trainer.max_epochs=2"]
    score = fit(train_config, overrides=typed)
    run = Run(train_config.run_folder)
    default = str(run.path.parent / "new")
    command = {"argv": ["train.py", "seed=1", "resume=auto"]}
    monkeypatch.setattr("sys.argv", command["argv"])
    alive = run.record["process"]
    killed = {**run.record, "status": "running", "commands": [{**run.record["commands"][0], **command}]}
    killed["process"] = {**alive, "pid": 2**22 + 1}
    for changes in (
        {"commands": [{"argv": ["train.py", "seed=2", "resume=auto"], "overrides": []}]},
        {"status": "finished"},
        {"process": alive},
        {"files": {"params.yaml": "0"}},
        {"data": {}},
        {},
    ):
        (run.path / "run.json").write_text(json.dumps({**killed, **changes}))
        assert choose_run_folder("auto", default) == (default if changes else str(run.path)), changes
    train_config.resume = "auto"
    assert fit(train_config, overrides=typed) == pytest.approx(score)
    assert run.record["status"] == "finished"


def test_a_failed_run_says_why(train_config: DictConfig) -> None:
    train_config.model.optimizer.weight_decay = -1
    with pytest.raises(Exception, match="eight.decay.* -1"):
        fit(train_config)
    record = Run(train_config.run_folder).record
    assert record["status"] == "failed"
    assert "decay" in record["reason"]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_training_from_windows_resumes_to_the_same_weights(
    train_config: DictConfig, tensors: Path, replace_rows: Callable[..., None]
) -> None:
    """In the middle of the second of three windows; workers make no difference."""
    replace_rows(tensors, "train", *[6000] * 9)
    train_config.data.update(batch_size=2000, memory_mib=1)
    train_config.logger = {}
    train_config.model.net.dropout = 0.2
    train_config.callbacks.resume_checkpoint.every_n_seconds = 0
    whole = prepare(train_config)
    whole.fit()

    def kill(trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 38:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        prepare(train_config, LambdaCallback(on_train_batch_end=kill)).fit()
    train_config.data.n_workers = 2
    resumed = prepare(train_config)
    resumed.fit(Path(train_config.run_folder) / LAST_CHECKPOINT)
    assert resumed.trainer.global_step == whole.trainer.global_step == 54
    assert resumed.model.n_rows_trained == 2 * 54_000
    weights = (run.model.state_dict() for run in (resumed, whole))
    torch.testing.assert_close(*weights, rtol=0, atol=0)
