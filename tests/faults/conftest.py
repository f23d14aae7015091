"""Projects to do harm to."""

import multiprocessing.forkserver
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from faults.project import FORKS, ROOT, SMALL, STAGES, USES, Project, end, environment, sha256


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, sample_csv: str) -> Project:
    """A project whose data is prepared; whoever changes it takes a copy."""
    start_forkserver()
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
    project = Project(folder)
    for stage in STAGES:
        project.run(f"scripts/{stage}.py")
    return project


def start_forkserver() -> None:
    # That of another test has not imported what this suite needs.
    multiprocessing.forkserver._forkserver._stop()
    FORKS.set_forkserver_preload(["faults.preload"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**environment(), "PYTHONPATH": f"{ROOT}/src:{ROOT}/tests"}.items():
            patch.setenv(name, value)
        multiprocessing.forkserver.ensure_running()


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
def project_for(request: pytest.FixtureRequest) -> Callable[[bool], Project]:
    """Give a project of one's own, trained or not."""
    return lambda is_trained: request.getfixturevalue("trained_project" if is_trained else "project")


@pytest.fixture(scope="session")
def mounted() -> Callable[..., AbstractContextManager[None]]:
    """Mount a file system on a folder while a block runs."""

    @contextmanager
    def mount(folder: Path, *options: str) -> Iterator[None]:
        if shutil.which("mount") is None:
            pytest.skip("there is no program mount")
        done = subprocess.run(["mount", *options, folder], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("this user may not mount file systems here")
        try:
            yield
        finally:
            subprocess.run(["umount", folder], check=True)

    return mount


@pytest.fixture
def dvc_project(project: Project, copy_project: Callable[..., None]) -> Project:
    """A project with its own pipeline, nothing of it run but what is in `data/raw`."""
    copy_project(project.folder, "configs", "scripts", "src", "dvc.yaml", ".dvcignore", ".gitignore")
    for name in ("data/interim", "data/processed", "reports", "logs"):
        shutil.rmtree(project.folder / name)
    for program in ("git", "dvc"):
        end(project.start(program, "init", "--quiet"))
    return project
