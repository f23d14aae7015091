"""Projects to do harm to."""

import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from faults.project import ROOT, SMALL, STAGES, USES, Forker, Project, Refuses, environment, sha256


@pytest.fixture(scope="session")
def forker() -> Iterator[Forker]:
    started = Forker()
    yield started
    started.close()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, forker: Forker, sample_csv: str) -> Project:
    """A project whose data is prepared; whoever changes it takes a copy."""
    folder = tmp_path_factory.mktemp("prepared")
    raw = folder / "data/raw/covtype.csv"
    raw.parent.mkdir(parents=True)
    raw.write_text(sample_csv)
    params = OmegaConf.load(ROOT / "params.yaml")
    params.fetch.sha256 = sha256(raw)
    # Nobody listens there.
    params.fetch.sources = [{"url": "http://127.0.0.1:9/covtype.zip", "member": "a.gz", "has_header": False}]
    params.cap_classes.max_per_class = 300
    params.explore.n_mutual_information_rows = 500
    OmegaConf.save(params, folder / "params.yaml")
    project = Project(folder=folder, forker=forker)
    for stage in STAGES:
        project.run(f"scripts/{stage}.py")
    return project


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, prepared: Project) -> Project:
    """The same with a run, its scores and its bundle."""
    project = prepared.copy(tmp_path_factory.mktemp("trained"))
    short = ("trainer.max_epochs=2", "data.batch_size=256")
    project.run(*SMALL, *short, "publish.run=models/trained", "publish.report=reports/train.json")
    project.run(*USES["evaluate"])
    project.run(*USES["export"])
    return project


@pytest.fixture
def project(tmp_path: Path, prepared: Project) -> Project:
    """A prepared project of one's own."""
    return prepared.copy(tmp_path / "project")


@pytest.fixture
def trained_project(tmp_path: Path, trained: Project) -> Project:
    """A trained project of one's own."""
    return trained.copy(tmp_path / "project")


@pytest.fixture
def refuses() -> Refuses:
    """Check how a command refuses: exit code, one short message, no output changed; gives the message."""

    def check(project: Project, *argv: str, message: str = "", folders: tuple[str, ...] = ()) -> str:
        before = project.outputs(*folders)
        done = project.run(*argv, check=False)
        assert done.code not in (0, -signal.SIGKILL), f"{argv} went through"
        assert project.outputs(*folders) == before, "earlier outputs must be untouched"
        assert "Traceback (most recent call last)" not in done.errors, done.errors
        lines = done.errors.strip().splitlines()
        for line in [line for line in lines if line.startswith("Traceback: ")]:
            lines.remove(line)
            log = (project.folder / line.removeprefix("Traceback: ")).read_text()
            assert "Traceback (most recent call last)" in log
        # Hydra repeats the overrides first.
        reported = [line for line in lines if not line.startswith("Error executing job")]
        assert 1 <= len(reported) <= 3, done.errors
        assert all(len(line) < 1000 for line in lines), "a message is read by a person"
        assert re.search(message, done.errors), done.errors
        return "\n".join(lines)

    return check


@pytest.fixture(scope="session")
def mounted() -> Callable[..., Any]:
    """Mount a file system on a folder while a block runs."""

    @contextmanager
    def mount(folder: Path, *options: str) -> Iterator[None]:
        if shutil.which("mount") is None:
            pytest.skip("there is no program mount")
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip("this user may not mount file systems here")
        try:
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)

    return mount


@pytest.fixture(scope="session")
def read_only(mounted: Callable[..., Any]) -> Callable[..., Any]:
    """Let nobody write to a folder while a block runs; no mode of it would keep root from that."""

    @contextmanager
    def protect(folder: Path) -> Iterator[None]:
        with mounted(folder, "--bind", str(folder)):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
            yield

    return protect


@pytest.fixture
def dvc_project(project: Project, copy_project: Callable[..., None]) -> Path:
    """A project with its own pipeline, nothing of it run but what is in `data/raw`."""
    copy_project(project.folder, "configs", "scripts", "src", "dvc.yaml", ".dvcignore", ".gitignore")
    for name in ("data/interim", "data/processed", "reports", "logs"):
        shutil.rmtree(project.folder / name)
    for program in ("git", "dvc"):
        command = [program, "init", "--quiet"]
        subprocess.run(command, cwd=project.folder, env=environment(), check=True, capture_output=True)
    return project.folder
