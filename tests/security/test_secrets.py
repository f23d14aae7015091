"""Secrets where a project has them are in nothing that its commands write or say."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from omegaconf import OmegaConf

from canopy.passwords import hide_passwords
from canopy.sweep.storage import PASSWORD_VARIABLE, open_storage
from canopy.training.callbacks.hyperparameters import resolve
from packages import execute, served

COPIED = ("configs", "src", "params.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore")
# Each is searched for by itself, so that a leak is reported by its name.
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": "planted-aws-key",
    "CANOPY_API_KEY": "planted-api-key",
    "CANOPY_STORAGE_PASSWORD": "planted-storage-password",
    "DATA_TOKEN": "planted-data-token",
}
SECRETS = [
    *(*ENVIRONMENT.values(), "planted-git-token", "planted-dvc-password", "planted-dvc-shared"),
    *("planted-typed", "planted-in-config"),
]
ABOUT = "pipeline.table.about=${oc.env:DATA_TOKEN}"
TYPED = "postgresql+psycopg://ann:planted-typed@127.0.0.1:1/canopy"


class Project:
    """A copy of the project with secrets in all the places where people keep them."""

    def __init__(self, folder: Path, tensors: Path) -> None:
        self.folder, self.tensors, self.said = folder, tensors, ""
        for command in (
            ["git", "init", "--quiet"],
            ["git", "add", "."],
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "Start"],
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

    def run(self, *command: str, fails: bool = False) -> str:
        done = execute(*command, folder=self.folder, check=False)
        said = done.stdout + done.stderr
        assert bool(done.returncode) == fails, said
        self.said += said
        return said

    def train(self, *overrides: str, fails: bool = False) -> str:
        return self.run(
            *("python", "src/train.py", f"pipeline.paths.processed={self.tensors}", "trainer=cpu"),
            *("trainer.max_epochs=1", "model.net.hidden=[8]", "data.batch_size=64", *overrides),
            *("callbacks.progress_bar=null", "trainer.enable_progress_bar=false"),
            fails=fails,
        )

    def found(self, secret: str) -> list[str]:
        """Name the files with a secret in them, but for those that it was put into."""
        planted = {self.folder / name for name in (".dvc/config", ".dvc/config.local", ".git/config")}
        files = [path for path in self.folder.rglob("*") if path.is_file() and path not in planted]
        return [str(path) for path in files if secret.encode() in path.read_bytes()]


@pytest.fixture
def project(
    tensors: Path, tmp_path: Path, copy_project: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """The project; after the test, no secret is in a file of it or in what its commands said."""
    for name, secret in ENVIRONMENT.items():
        monkeypatch.setenv(name, secret)
    copy_project(tmp_path / "project", *COPIED)
    project = Project(tmp_path / "project", tensors)
    yield project
    for secret in SECRETS:
        assert project.found(secret) == []
        assert secret not in project.said


@pytest.mark.slow
def test_training_keeps_secrets(project: Project) -> None:
    project.train("name=run", "pipeline.table.about=${oc.env:AWS_SECRET_ACCESS_KEY}", "seed=1")
    (run,) = project.folder.glob("logs/train/runs/*_run")
    assert "+# changed" in (run / "git.diff").read_text()
    assert "${oc.env:AWS_SECRET_ACCESS_KEY}" in (run / "config.yaml").read_text()
    project.run("python", "src/runs.py", "--json")
    project.run("python", "src/train.py", f"reproduce={run}", "name=again")
    said = project.train("name=failed", "model.optimizer.lr=-1", ABOUT, fails=True)
    assert "model.optimizer.lr must be a number >= 0; found -1" in said
    # The folder of a run that is not named has its overrides in its name.
    options = (f"data.folder={project.tensors}", "debug=fdr", "trainer.accelerator=cpu")
    project.run("python", "src/train.py", ABOUT, *options)
    assert list(project.folder.glob("logs/train/runs/*about-*oc.env*DATA_TOKEN*"))
    assert not list(project.folder.glob("logs/train/runs/*planted*"))


@pytest.mark.slow
def test_sweep_keeps_secrets(project: Project) -> None:
    project.train(
        *("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.study_name=a"),
        *("hydra.sweeper.storage=sqlite:///logs/sweeps.db", "hydra.sweeper.direction=maximize"),
        *("model.optimizer.lr=choice(0.01,0.02)", ABOUT),
    )
    assert list(project.folder.glob("logs/train/multiruns/*/multirun.yaml"))
    project.run("python", "src/sweep.py", "a", "--report")
    project.run("python", "src/sweep.py", "a", "--best", "tuned")


@pytest.mark.slow
def test_password_in_url_is_refused(project: Project) -> None:
    sweep = ("-m", "hydra/sweeper=optuna", f"hydra.sweeper.storage={TYPED}", "seed=1,2")
    said = [project.train(*arguments, fails=True) for arguments in (sweep, (f"+note={TYPED}",))]
    for message in said:
        assert "A URL must have no password in it, since logs and run folders keep command lines" in message
        assert "ann:***@127.0.0.1:1/canopy: give it in the environment" in message
    assert "ann:***@" in project.run("python", "src/sweep.py", "--storage", TYPED, fails=True)
    planted = project.folder / "configs/sweep/planted.yaml"
    sweeper = {"storage": TYPED.replace("planted-typed", "planted-in-config"), "direction": "maximize"}
    config = {"hydra": {"sweeper": {**sweeper, "n_trials": 1, "params": {"seed": "choice(1,2)"}}}}
    defaults = "# @package _global_\ndefaults: [override /hydra/sweeper: optuna]\n"
    planted.write_text(defaults + OmegaConf.to_yaml(OmegaConf.create(config)))
    said = project.train("-m", "sweep=planted", fails=True)
    planted.unlink()
    assert "ann:***@127.0.0.1:1/canopy: give it as CANOPY_STORAGE_PASSWORD in the environment" in said


@pytest.mark.slow
@pytest.mark.usefixtures("trusted_targets")
def test_serving_keeps_secrets(project: Project, export_run: Callable[..., Path]) -> None:
    bundle = export_run()
    headers = {"X-API-Key": ENVIRONMENT["CANOPY_API_KEY"]}
    (project.folder / "logs").mkdir(exist_ok=True)
    with served(project.folder, options=(f"bundle={bundle}",)) as url:
        answers = [
            requests.get(f"{url}/model", headers=headers, timeout=30),
            requests.get(f"{url}/model?key={ENVIRONMENT['CANOPY_API_KEY']}", timeout=30),
            requests.get(f"{url}/metrics", headers=headers, timeout=30),
            requests.get(f"{url}/openapi.json", timeout=30),
            requests.post(f"{url}/predict", headers=headers, json={"rows": "wrong"}, timeout=30),
        ]
    assert [answer.status_code for answer in answers] == [200, 401, 200, 200, 422]
    for answer in answers:
        assert not any(secret in answer.text + str(answer.headers) for secret in SECRETS)


def test_resolve_hides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_TOKEN", "planted-data-token")
    texts = {"a": "${oc.env:DATA_TOKEN}", "b": "${a}", "c": "x-${b}", "d": "${oc.env:ABSENT,1}"}
    config = OmegaConf.create({**texts, "e": 1, "f": "${e}"})
    shown = "(DATA_TOKEN of the environment)"
    hidden = {"a": shown, "b": shown, "c": f"x-{shown}", "d": "(ABSENT of the environment)", "e": 1, "f": 1}
    assert resolve(config) == hidden
    # For all others the environment is what it was.
    assert (config.c, config.d) == ("x-planted-data-token", "1")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:***@127.0.0.1:1/a",
        "postgresql://ann@127.0.0.1:1/a?password=***",
        "https://example.org/table.zip?X-Amz-Signature=***&b=1",
        "key=[s3://ann:***@example.org/a,1]",
        *("postgresql://ann@host:5432/a", "http://a:80/a?b=1", "a:b@c", "ssh://a@b"),
    ],
)
def test_hide_passwords_changes_nothing_else(url: str) -> None:
    for password in ("planted", "pl/ant@ed"):
        assert hide_passwords(url.replace("***", password)) == url


@pytest.mark.parametrize("password", ["planted", "pl an ted", "pl'an\"ted", "pl/an@ted"])
def test_open_storage_refuses_password(password: str) -> None:
    with pytest.raises(ValueError, match=r"postgresql\S*://ann:\*\*\*@127.0.0.1:1/a: give it as") as caught:
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
