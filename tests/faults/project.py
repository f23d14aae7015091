"""A folder that commands of the project run in, as a person or a fault suite runs them."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The fixture `refuses`.
Refuses = Callable[..., str]

ROOT = Path(__file__).parents[2]
STAGES = ("explore", "drop_columns", "split", "normalize", "cap_classes", "make_tensors")
# A net that trains in a moment.
SMALL = (
    *("src/train.py", "trainer=cpu", "model.net.hidden=[16]"),
    *("callbacks.progress_bar=null", "trainer.enable_progress_bar=false"),
)
# What uses a trained run or its bundle.
USES = {
    "evaluate": ("src/evaluate.py", "run=models/trained", "output=reports"),
    "export": ("src/export.py", "run=models/trained", "metrics=reports/metrics.json"),
    "compress": (
        *("src/compress.py", "run=models/trained", "bundle=models/canopy", "output=models/compressed"),
        *("prune.epochs=1", "distil.epochs=1", "distil.net.hidden=[8]", "n_calibration_rows=256"),
    ),
    "predict": (
        *("src/predict.py", "bundle=models/canopy", "input=data/raw/covtype.csv", "output=reports/p.csv"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that has ended; a negative exit code is the number of the signal that killed it."""

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
            env=environment(),
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
    """A folder with a `params.yaml` that commands of the project run in."""

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
            env=environment(),
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


def environment() -> dict[str, str]:
    """Give a command this Python and its programs, and one thread: its neighbours run too."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
