"""Secrets where a project has them are in nothing that its commands write or say."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from omegaconf import OmegaConf

from canopy.passwords import hide_passwords
from canopy.sweep.storage import PASSWORD_VARIABLE, open_storage
from canopy.training.callbacks.hyperparameters import resolve

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COPIED = ("configs", "src", "params.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore")

# Each is searched for by itself, so that a leak is reported by its name.
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": "planted-aws-key",
    "CANOPY_API_KEY": "planted-api-key",
    "CANOPY_STORAGE_PASSWORD": "planted-storage-password",
    "DATA_TOKEN": "planted-data-token",
}
SECRETS = [*ENVIRONMENT.values(), "planted-git-token", "planted-dvc-password", "planted-dvc-shared"]
QUICK = (
    *("trainer=cpu", "trainer.max_epochs=1", "model.net.hidden=[8]", "data.batch_size=64"),
    *("callbacks.progress_bar=null", "trainer.enable_progress_bar=false"),
)


class Project:
    """A copy of the project with secrets in all the places where people keep them."""

    def __init__(self, folder: Path, tensors: Path) -> None:
        self.folder, self.tensors = folder, tensors
        self.said = ""
        for command in (
            ["git", "init", "--quiet"],
            ["git", "add", "."],
            [*("git", "-c", "user.name=a", "-c", "user.email=a@example.com"), "commit", "-qm", "Start"],
            ["git", "remote", "add", "origin", "https://ann:planted-git-token@git.example.org/canopy.git"],
            ["dvc", "remote", "add", "--default", "team", "ssh://data.example.org/canopy"],
            ["dvc", "remote", "modify", "--local", "team", "password", "planted-dvc-password"],
            # A mistake that people make: in the file that git has, though not yet committed.
            ["dvc", "remote", "modify", "team", "user", "planted-dvc-shared"],
        ):
            self.run(*command)
        # Code that is not committed either, so that there is something to record.
        with (folder / "src/canopy/__init__.py").open("a") as file:
            file.write("\n# changed\n")

    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, **ENVIRONMENT, "PATH": path, "PYTHONPATH": "src"}

    def run(self, *command: str, fails: bool = False) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, said
        self.said += said
        return said

    def train(self, *overrides: str, fails: bool = False) -> str:
        command = (sys.executable, "src/train.py", f"pipeline.paths.processed={self.tensors}", *QUICK)
        return self.run(*command, *overrides, fails=fails)

    def found(self, secret: str) -> list[str]:
        """Name the files with a secret in them, but for those that it was put into."""
        planted = {".dvc/config", ".dvc/config.local", ".git/config"}
        names = {path.relative_to(self.folder): path for path in self.folder.rglob("*") if path.is_file()}
        return [
            str(name)
            for name, path in names.items()
            if str(name) not in planted and secret.encode() in path.read_bytes()
        ]


@pytest.fixture(scope="module")
def projects() -> list[Project]:
    """Holds the project of this module once it is there."""
    return []


@pytest.fixture
def project(
    projects: list[Project], tensors: Path, tmp_path: Path, copy_project: Callable[..., None]
) -> Project:
    if not projects:
        copy_project(tmp_path / "project", *COPIED)
        projects.append(Project(tmp_path / "project", tensors))
    return projects[0]


def assert_nothing_leaked(project: Project) -> None:
    for secret in SECRETS:
        assert project.found(secret) == []
        assert secret not in project.said


def test_training_keeps_secrets(project: Project) -> None:
    project.train("name=run", "pipeline.table.about=${oc.env:AWS_SECRET_ACCESS_KEY}", "seed=1")
    (run,) = project.folder.glob("logs/train/runs/*_run")
    assert "+# changed" in (run / "git.diff").read_text()
    assert "${oc.env:AWS_SECRET_ACCESS_KEY}" in (run / "config.yaml").read_text()
    project.run(sys.executable, "src/runs.py", "--json")
    project.run(sys.executable, "src/train.py", f"reproduce={run}", "name=again")
    assert_nothing_leaked(project)


def test_run_name_keeps_secrets(project: Project) -> None:
    """Its folder has its overrides in its name."""
    command = (
        sys.executable,
        "src/train.py",
        "pipeline.table.about=${oc.env:DATA_TOKEN}",
        f"data.folder={project.tensors}",
    )
    project.run(*command, "debug=fdr", "trainer.accelerator=cpu")
    assert list(project.folder.glob("logs/train/runs/*about-*oc.env*DATA_TOKEN*"))
    assert not list(project.folder.glob("logs/train/runs/*planted*"))
    assert_nothing_leaked(project)


def test_failed_run_keeps_secrets(project: Project) -> None:
    said = project.train(
        "name=failed", "model.optimizer.lr=-1", "pipeline.table.about=${oc.env:DATA_TOKEN}", fails=True
    )
    assert "model.optimizer.lr must be a number >= 0; found -1" in said
    assert_nothing_leaked(project)


def test_sweep_keeps_secrets(project: Project) -> None:
    sweep = (
        "-m",
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.study_name=a",
        "hydra.sweeper.storage=sqlite:///logs/sweeps.db",
        "hydra.sweeper.direction=maximize",
    )
    project.train(*sweep, "model.optimizer.lr=choice(0.01,0.02)", "pipeline.table.about=${oc.env:DATA_TOKEN}")
    assert list(project.folder.glob("logs/train/multiruns/*/multirun.yaml"))
    project.run(sys.executable, "src/sweep.py", "a", "--report")
    project.run(sys.executable, "src/sweep.py", "a", "--best", "tuned")
    assert_nothing_leaked(project)


STORAGE = "postgresql+psycopg://ann:{}@127.0.0.1:1/canopy"


def test_command_line_with_password_is_refused(project: Project) -> None:
    for arguments in (
        (
            "-m",
            "hydra/sweeper=optuna",
            f"hydra.sweeper.storage={STORAGE.format('planted-typed')}",
            "seed=1,2",
        ),
        (f"+note={STORAGE.format('planted-typed')}",),
    ):
        said = project.train(*arguments, fails=True)
        assert "A URL must have no password in it, since logs and run folders keep command lines" in said
        assert "ann:***@127.0.0.1:1/canopy: give it in the environment" in said
        assert "planted-typed" not in said
    assert project.found("planted-typed") == []
    storage = STORAGE.format("planted-typed")
    said = project.run(sys.executable, "src/sweep.py", "--storage", storage, fails=True)
    assert "planted-typed" not in said
    assert "ann:***@" in said


def test_config_with_password_is_refused(project: Project) -> None:
    config = f"""# @package _global_
defaults:
  - override /hydra/sweeper: optuna
hydra:
  sweeper:
    storage: {STORAGE.format("planted-in-config")}
    direction: maximize
    n_trials: 1
    params: {{seed: "choice(1,2)"}}
"""
    planted = project.folder / "configs/sweep/planted.yaml"
    planted.write_text(config)
    try:
        said = project.train("-m", "sweep=planted", fails=True)
    finally:
        planted.unlink()
    assert "ann:***@127.0.0.1:1/canopy: give it as CANOPY_STORAGE_PASSWORD in the environment" in said
    assert "planted-in-config" not in said
    assert project.found("planted-in-config") == []


@pytest.mark.usefixtures("trusted_targets")
def test_serving_keeps_secrets(project: Project, export_run: Callable[..., Path]) -> None:
    bundle = export_run()
    with serving(project, bundle) as url:
        headers = {"X-API-Key": ENVIRONMENT["CANOPY_API_KEY"]}
        answers = [
            requests.get(f"{url}/model", headers=headers, timeout=30),
            requests.get(f"{url}/model?key={ENVIRONMENT['CANOPY_API_KEY']}", timeout=30),
            requests.get(f"{url}/metrics", headers=headers, timeout=30),
            requests.get(f"{url}/openapi.json", timeout=30),
            requests.post(f"{url}/predict", headers=headers, json={"rows": "wrong"}, timeout=30),
        ]
    assert [answer.status_code for answer in answers] == [200, 401, 200, 200, 422]
    for answer in answers:
        assert not any(secret in answer.text or secret in str(answer.headers) for secret in SECRETS)
    assert_nothing_leaked(project)


@contextmanager
def serving(project: Project, bundle: Path) -> Iterator[str]:
    """Serve a bundle for the length of a block; gives the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (project.folder / "server.txt").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "src/serve.py", f"bundle={bundle}", f"port={port}"],
            cwd=project.folder,
            env=project.environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield wait_for(server, f"http://127.0.0.1:{port}")
        finally:
            server.terminate()
            server.wait(60)


def wait_for(server: subprocess.Popen[bytes], url: str) -> str:
    for _ in range(300):
        assert server.poll() is None
        try:
            assert requests.get(f"{url}/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return url
    raise AssertionError("the server must answer within 30 seconds")


def test_resolve_hides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_TOKEN", "planted-data-token")
    config = OmegaConf.create(
        {
            "a": "${oc.env:DATA_TOKEN}",
            "b": "${a}",
            "c": "x-${b}",
            "d": "${oc.env:ABSENT,1}",
            "e": 1,
            "f": "${e}",
        }
    )
    assert resolve(config) == {
        "a": "(DATA_TOKEN of the environment)",
        "b": "(DATA_TOKEN of the environment)",
        "c": "x-(DATA_TOKEN of the environment)",
        "d": "(ABSENT of the environment)",
        "e": 1,
        "f": 1,
    }
    # For all others the environment is what it was.
    assert config.c == "x-planted-data-token"
    assert config.d == "1"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:planted@127.0.0.1:1/a",
        "postgresql://ann:pl/ant@ed@127.0.0.1:1/a",
        "postgresql://ann@127.0.0.1:1/a?password=planted",
        "https://ann:planted@example.org/table.zip",
        "https://example.org/table.zip?X-Amz-Signature=planted&b=1",
        "key=[s3://ann:planted@example.org/a,1]",
    ],
)
def test_hide_passwords_finds_them_in_urls(url: str) -> None:
    hidden = hide_passwords(url)
    assert "***" in hidden
    assert "pl" not in hidden.replace("example", "")


@pytest.mark.parametrize(
    "text", ["postgresql://ann@host:5432/a", "http://127.0.0.1:8000/a?b=1", "a:b@c", "ssh://a@b"]
)
def test_hide_passwords_keeps_other_text(text: str) -> None:
    assert hide_passwords(text) == text


@pytest.mark.parametrize("password", ["planted", "pl an ted", "pl'an\"ted", "pl/an@ted"])
def test_open_storage_refuses_password(password: str) -> None:
    with pytest.raises(
        ValueError, match=r"found postgresql\S*://ann:\*\*\*@127.0.0.1:1/a: give it as"
    ) as caught:
        open_storage(f"postgresql+psycopg://ann:{password}@127.0.0.1:1/a")
    assert "ted" not in str(caught.value)


def test_open_storage_error_hides_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "planted-storage-password")
    with pytest.raises(ValueError, match="must be the URL of a database that can be opened") as caught:
        open_storage("postgresql+psycopg://ann@127.0.0.1:1/canopy")
    error: BaseException | None = caught.value
    while error is not None:
        assert "planted-storage-password" not in str(error)
        error = error.__cause__
