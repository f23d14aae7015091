"""A server of MLflow with SQLite, and runs that are started, killed and resumed as a user does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import mlflow
import pytest
import requests

from packages import ROOT, environment, execute, free_port

N_EPOCHS = 12


class Server:
    """MLflow's own server, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        options = ["--backend-store-uri", f"sqlite:///{self.folder}/server.db", "--workers", "1"]
        options += ["--artifacts-destination", f"{self.folder}/files", "--host", "127.0.0.1"]
        command = [sys.executable, "-m", "mlflow", "server", *options, "--port", str(self.port)]
        # Its jobs need a further package.
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.txt").open("a") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(1200):
            with suppress(requests.RequestException):
                requests.get(f"{self.uri}/health", timeout=5).raise_for_status()
                return
            assert self._process.poll() is None, (self.folder / "server.txt").read_text()
            time.sleep(0.1)
        raise AssertionError((self.folder / "server.txt").read_text())

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("server"))
    yield found
    found.stop()


@pytest.fixture
def tracked(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A server for all commands; the address."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    # Lightning's logger sets it for the process, to which MLflow gives precedence.
    mlflow.set_tracking_uri(server.uri)
    return server.uri


class Command:
    """`src/train.py` on small tensors."""

    def __init__(self, tensors: Path, folder: Path) -> None:
        self.folder = folder / "tracked"
        self.overrides = [
            *(f"pipeline.paths.processed={tensors}", "trainer=cpu", f"trainer.max_epochs={N_EPOCHS}"),
            *("trainer.log_every_n_steps=5", "model.net.hidden=[8]", "data.batch_size=8"),
            *("callbacks.progress_bar=null", "trainer.enable_progress_bar=false"),
            # A resumed run starts from the first epoch's end, and logs much again.
            *("callbacks.early_stopping=null", "callbacks.resume_checkpoint.every_n_seconds=1000"),
            "callbacks.confusion_matrix.every_n_validations=4",
        ]

    def run(self, *overrides: str) -> str:
        done = execute(sys.executable, "src/train.py", *self.overrides, *overrides, folder=ROOT)
        return done.stdout + done.stderr

    def kill_and_resume(self, *overrides: str) -> None:
        """Train a run in `folder`, kill it after a third of its epochs, resume it."""
        command = [sys.executable, "src/train.py", *self.overrides, *overrides]
        process = subprocess.Popen(
            [*command, f"hydra.run.dir={self.folder}"],
            cwd=ROOT,
            env=environment(ROOT),
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in process.stdout:
            if f"Epoch {N_EPOCHS // 3} of" in line:
                break
        process.kill()
        rest = process.communicate()[0]
        assert f"Epoch {N_EPOCHS} of" not in rest
        assert (self.folder / "checkpoints/last.ckpt").is_file(), rest
        execute(sys.executable, "src/train.py", f"resume={self.folder}", folder=ROOT)


@pytest.fixture
def command(tensors: Path, tmp_path: Path) -> Command:
    return Command(tensors, tmp_path)
