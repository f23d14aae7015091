"""Files that somebody else made, and commands that are given them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Call = Callable[..., str]


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
def executed(tmp_path: Path) -> Path:
    """The file that is there once planted code has run."""
    return tmp_path / "executed"


@pytest.fixture
def payload(executed: Path) -> Payload:
    return Payload(executed)


@pytest.fixture
def refused(executed: Path, tmp_path: Path) -> Call:
    """Run a command that must refuse what it is given; gives what it says."""

    def call(script: str, *arguments: str, own_log: bool = True) -> str:
        command = [sys.executable, f"src/{script}.py", *arguments]
        if own_log:
            # A run that continues logs into its folder.
            command.append(f"hydra.run.dir={tmp_path / 'logged'}")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode != 0, done.stdout
        assert not executed.exists()
        assert "Traceback (most recent call last)" not in done.stderr, done.stderr
        message = [line for line in done.stderr.splitlines() if line and not line.startswith("Traceback: ")]
        assert len(message) <= 3, message
        return "\n".join(message)

    return call
