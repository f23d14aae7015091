"""Files that somebody else made, and commands that are given them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
def executed(tmp_path: Path) -> Iterator[Path]:
    """The file that planted code would make; after the test it must not be there."""
    yield tmp_path / "executed"
    assert not (tmp_path / "executed").exists()


@pytest.fixture
def payload(executed: Path) -> Payload:
    return Payload(executed)


@pytest.fixture
def refuses() -> Callable[..., None]:
    """Run a command that must refuse what it is given, with a message of a few lines."""

    def check(script: str, *arguments: str, message: str, n_lines: int = 3) -> None:
        command = [sys.executable, f"src/{script}.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode != 0, done.stdout
        assert message in done.stderr, done.stderr
        assert "Traceback (most recent call last)" not in done.stderr, done.stderr
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith("Traceback: ")]
        assert len(lines) <= n_lines, done.stderr

    return check
