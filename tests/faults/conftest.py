"""Projects to do harm to, and the table of what they survived."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]
STAGES = ("explore", "drop_columns", "split", "normalize", "cap_classes", "make_tensors")
TRAIN = (
    *("trainer=cpu", "trainer.max_epochs=2", "model.net.hidden=[16]", "data.batch_size=256"),
    *("callbacks.progress_bar=null", "trainer.enable_progress_bar=false"),
)


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that has ended.

    Attributes:
        code: Its exit code; a negative one is the number of the signal that killed it.
        output: What it wrote to stdout.
        errors: What it wrote to stderr.
        seconds: How long it ran.
    """

    code: int
    output: str
    errors: str
    seconds: float


class Forker:
    """Starts commands as forks of a process that has imported what they import."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        )

    def run(
        self,
        folder: Path,
        *argv: str,
        kill_after: float | None = None,
        kill_when: Callable[[], bool] = lambda: True,
    ) -> Done:
        """Run a script of the project in a folder; SIGKILL it some seconds after something is so."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as name:
            stdout, stderr = Path(name) / "stdout", Path(name) / "stderr"
            command = {
                "argv": [str(ROOT / argv[0]), *argv[1:]],
                "folder": str(folder),
                "stdout": str(stdout),
                "stderr": str(stderr),
            }
            print(json.dumps(command), file=self._process.stdin, flush=True)
            process = int(self._process.stdout.readline())
            started = time.perf_counter()
            ended = threading.Event()
            killer = threading.Thread(target=_kill, args=(process, kill_after, kill_when, ended))
            killer.start()
            code = int(self._process.stdout.readline())
            ended.set()
            killer.join()
            seconds = time.perf_counter() - started
            return Done(code=code, output=stdout.read_text(), errors=stderr.read_text(), seconds=seconds)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def _kill(process: int, after: float | None, when: Callable[[], bool], ended: threading.Event) -> None:
    if after is None:
        return
    while not when():
        if ended.wait(0.01):
            return
    if not ended.wait(after):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder that commands of the project run in.

    Attributes:
        folder: The folder, with a `params.yaml`.
        forker: What starts the commands.
    """

    folder: Path
    forker: Forker

    def run(self, *argv: str, check: bool = True, **kill: Any) -> Done:
        done = self.forker.run(self.folder, *argv, **kill)
        assert not check or done.code == 0, done.errors
        return done

    def start(self, *argv: str, python: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[str]:
        """Start a command as a person does."""
        return subprocess.Popen(
            [sys.executable, *python, str(ROOT / argv[0]), *argv[1:]],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def outputs(self, *folders: str) -> dict[str, str]:
        """Give the hash of each file below some folders, hidden ones included."""
        paths = [path for name in folders or ("data", "reports", "models") for path in self.files(name)]
        return {str(path.relative_to(self.folder)): sha256(path) for path in sorted(paths)}

    def files(self, name: str) -> list[Path]:
        return [path for path in (self.folder / name).rglob("*") if path.is_file()]

    def left_behind(self) -> list[Path]:
        """Find what killed commands left."""
        names = ("data", "reports", "models")
        return [path for name in names for path in (self.folder / name).rglob(".*") if path.is_dir()]

    def copy(self, folder: Path) -> "Project":
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Project(folder=folder, forker=self.forker)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    project.run("src/train.py", *TRAIN, "publish.run=models/trained", "publish.report=reports/train.json")
    project.run("src/evaluate.py", "run=models/trained", "output=reports")
    project.run("src/export.py", "run=models/trained", "metrics=reports/metrics.json")
    return project


@pytest.fixture
def project(tmp_path: Path, prepared: Project) -> Project:
    """A prepared project of one's own."""
    return prepared.copy(tmp_path / "project")


@pytest.fixture
def trained_project(tmp_path: Path, trained: Project) -> Project:
    """A trained project of one's own."""
    return trained.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def refuses() -> Callable[..., str]:
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
        # Hydra repeats the overrides first; what it indents are the choices that there are.
        told = [
            line for line in lines if line.strip() and not line.startswith(("Error executing job", "\t", " "))
        ]
        assert 1 <= len(told) <= 3, done.errors
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
def count(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Count what a test has found to be survived, for the table of figures: `count("kills.split", 3)`."""

    def add(name: str, number: float = 1) -> None:
        record_property(f"faults.{name}", number)

    return add


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-report", type=Path, help="write the table of figures of the fault suite here")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("faults_report", None)
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Figures(path), "faults-figures")


class Figures:
    """Adds up what the tests counted, as their reports come in from all processes.

    Args:
        path: JSON file to write at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.skipped: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.outcomes["failed"] += 1
        elif report.skipped:
            self.outcomes["skipped"] += 1
            self.skipped.add(str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.nodeid))
        elif report.when == "call":
            self.outcomes["passed"] += 1
            for name, number in report.user_properties:
                if name.startswith("faults."):
                    self.counts[name.removeprefix("faults.")] += number

    def pytest_sessionfinish(self) -> None:
        table: dict[str, Any] = {}
        for name, number in sorted(self.counts.items()):
            kind, _, of = name.partition(".")
            table.setdefault(kind, {})[of] = number
        content = {
            "losses": self.outcomes["failed"],
            "tests": {kind: self.outcomes[kind] for kind in ("passed", "failed", "skipped")},
            "not_tried": sorted(self.skipped),
            "totals": {kind: sum(of.values()) for kind, of in table.items() if kind != "memory"},
            **table,
        }
        self.path.write_text(json.dumps(content, indent=2) + "\n")


@pytest.fixture
def dvc_project(project: Project, copy_project: Callable[..., None]) -> Path:
    """A project with a pipeline of its own, nothing of it run but what is in `data/raw`."""
    copy_project(project.folder, "configs", "scripts", "src", "dvc.yaml", ".dvcignore", ".gitignore")
    for name in ("data/interim", "data/processed", "reports", "logs"):
        shutil.rmtree(project.folder / name)
    scripts = Path(sys.executable).parent
    for command in (["git", "init"], [f"{scripts}/dvc", "init"]):
        subprocess.run([*command, "--quiet"], cwd=project.folder, check=True, capture_output=True)
    return project.folder
