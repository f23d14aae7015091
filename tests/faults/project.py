"""A folder that commands of the project run in, as a person or a fault suite runs them."""

import hashlib
import multiprocessing
import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
STAGES = ("explore", "drop_columns", "split", "normalize", "cap_classes", "make_tensors")
# A net that trains in a moment.
SMALL = (
    *("src/train.py", "trainer=cpu", "model.net.hidden=[16]"),
    *("callbacks.progress_bar=null", "trainer.enable_progress_bar=false"),
)
PREDICT = ("input=data/raw/covtype.csv", "output=reports/p.csv")
# What uses a trained run or its bundle.
USES = {
    "evaluate": ("src/evaluate.py", "run=models/trained", "output=reports"),
    "export": ("src/export.py", "run=models/trained", "metrics=reports/metrics.json"),
    "compress": (
        *("src/compress.py", "run=models/trained", "bundle=models/canopy", "output=models/compressed"),
        *("prune.epochs=1", "distil.epochs=1", "distil.net.hidden=[8]", "n_calibration_rows=256"),
    ),
    "predict": ("src/predict.py", "bundle=models/canopy", *PREDICT),
}
SWEEP = (
    *(*SMALL, "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "hydra.sweeper.direction=maximize"),
    *("hydra.sweeper.study_name=a", "hydra.sweeper.storage=sqlite:///logs/sweeps.db"),
)
# Commands are forks of a process that has imported what they import: they start within milliseconds.
FORKS = multiprocessing.get_context("forkserver")


def run_script(argv: list[str], folder: Path, errors: Path) -> None:
    """Be the process of a command: its code, arguments, folder and exit code are those of the script."""
    multiprocessing.set_start_method(None, force=True)
    os.chdir(folder)
    for number, path in ((1, os.devnull), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = argv
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except Exception:  # noqa: BLE001 - as Python itself does
        sys.excepthook(*sys.exc_info())
        sys.exit(1)


class Done(NamedTuple):
    """A command that has ended; a negative exit code is the number of the signal that killed it."""

    code: int
    errors: str
    seconds: float


@dataclass(frozen=True)
class Project:
    """A folder with a `params.yaml` that commands of the project run in."""

    folder: Path

    def run(
        self,
        *argv: str,
        check: bool = True,
        kill_after: float | None = None,
        kill_when: Callable[[], bool] = lambda: True,
    ) -> Done:
        """Run a script of the project; SIGKILL it some seconds after something is so."""
        with tempfile.TemporaryDirectory() as folder:
            errors = Path(folder) / "errors"
            command = [str(ROOT / argv[0]), *argv[1:]]
            process = FORKS.Process(target=run_script, args=(command, self.folder, errors))
            process.start()
            started = time.perf_counter()
            if kill_after is not None:
                while process.is_alive() and not kill_when():
                    process.join(0.01)
                process.join(kill_after)
                process.kill()
            process.join()
            seconds = time.perf_counter() - started
            assert process.exitcode is not None
            done = Done(process.exitcode, errors.read_text() if errors.exists() else "", seconds)
        assert not check or done.code == 0, done.errors
        return done

    def refuses(self, *argv: str, message: str, folders: tuple[str, ...] = ()) -> str:
        """Check how a command refuses: exit code, one short message, no output changed; give the message."""
        before = self.outputs(*folders)
        done = self.run(*argv, check=False)
        assert done.code not in (0, -signal.SIGKILL), f"{argv} went through"
        assert self.outputs(*folders) == before, "earlier outputs must be untouched"
        assert self.left_behind() == [], "nothing half-written may be left"
        assert "Traceback (most recent call last)" not in done.errors, done.errors
        lines = done.errors.strip().splitlines()
        for line in [line for line in lines if line.startswith("Traceback: ")]:
            lines.remove(line)
            log = (self.folder / line.removeprefix("Traceback: ")).read_text()
            assert "Traceback (most recent call last)" in log
        # Hydra repeats the overrides first.
        reported = [line for line in lines if not line.startswith("Error executing job")]
        assert 1 <= len(reported) <= 3, done.errors
        assert all(len(line) < 1000 for line in lines), "a message is read by a person"
        assert re.search(message, done.errors), done.errors
        return "\n".join(lines)

    def kills(
        self, command: tuple[str, ...], *, n: int, after: tuple[float, float], **options: Any
    ) -> Iterator[None]:
        """Kill a command `n` times, some seconds after its start or `kill_when`; yields after each kill."""
        generator = random.Random(f"kills of {command[0]}")
        for _ in range(100):
            done = self.run(*command, kill_after=generator.uniform(*after), check=False, **options)
            if done.code == 0:
                continue
            assert done.code == -signal.SIGKILL, done.errors
            yield
            if (n := n - 1) == 0:
                return
        raise AssertionError("the command must be long enough for all kills")

    def start(self, *argv: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command as a person does: a script of the project, or a program."""
        return subprocess.Popen(
            [sys.executable, str(ROOT / argv[0]), *argv[1:]] if argv[0].endswith(".py") else argv,
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def outputs(self, *folders: str) -> dict[str, str]:
        """Give the hash of each file below some folders, hidden ones included."""
        paths = [path for name in folders or OUTPUTS for path in (self.folder / name).rglob("*")]
        return {str(path.relative_to(self.folder)): sha256(path) for path in sorted(paths) if path.is_file()}

    def left_behind(self) -> list[Path]:
        """Find what killed commands left."""
        return [path for name in OUTPUTS for path in (self.folder / name).rglob(".*") if path.is_dir()]

    def runs(self) -> list[Path]:
        return [*self.folder.glob("logs/train/runs/*")]

    def copy(self, folder: Path) -> "Project":
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Project(folder)


OUTPUTS = ("data", "reports", "models")


def end(process: subprocess.Popen[str], *, code: int = 0) -> str:
    """Wait until a command has ended; give what it wrote."""
    output, errors = process.communicate(timeout=300)
    assert process.returncode == code, output + errors
    return output + errors


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def environment() -> dict[str, str]:
    """Give a command this Python and its programs, and one thread: its neighbours run too."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
