"""The two commands as one types them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from canopy.runs.run import Run

ROOT = Path(__file__).parents[2]
LABELS = np.repeat([0, 1, 2], [60, 30, 10])

pytestmark = pytest.mark.usefixtures("two_runs")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture
def two_runs(make_run: Callable[..., Run], evaluate: Callable[..., None]) -> None:
    evaluate(make_run("a", score=0.75), LABELS, LABELS)
    evaluate(make_run("b", score=0.5), LABELS, np.zeros_like(LABELS))


def test_runs_lists_runs_and_warns_of_damaged_ones(logs: Path, make_run: Callable[..., Run]) -> None:
    damaged = make_run("c").path / "run.json"
    damaged.write_text("{")
    done = run("src/runs.py", "--logs", logs, "--columns", "best,seed", "--sort", "-best")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["name", "status", "best", "seed"],
        ["a", "finished", "0.75", "0"],
        ["b", "finished", "0.50", "0"],
        ["c", "damaged", "-", "0"],
    ]
    assert done.stderr.startswith(f"Warning: {damaged} cannot be used; found Expecting")
    assert done.returncode == 0


def test_runs_summarizes_a_folder(logs: Path) -> None:
    options = ("--logs", logs, "--summary", "--columns", "test.accuracy")
    done = run("src/runs.py", logs / "train/runs", *options)
    assert done.stdout.splitlines()[-1].split()[:5] == ["2", "test.accuracy", "0.8000", "±", "0.2828"]
    assert done.stdout == run("src/runs.py", *options).stdout


def test_compare_takes_names(logs: Path) -> None:
    done = run("src/compare.py", "b", "a", "--logs", logs)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("B is better than A; B - A: accuracy +0.40")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("runs --columns sed", "A key must be one of a run's config, record or scores; found 'sed'"),
        ("compare a b --split val", "A run to compare must be evaluated on its val rows"),
    ],
)
def test_mistake_is_one_line(logs: Path, command: str, message: str) -> None:
    done = run(*f"src/{command}".replace(" ", ".py ", 1).split(), "--logs", logs)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["runs"], ["runs", "--summary"], ["compare", "a", "b"]])
def test_commands_do_not_import_torch(logs: Path, command: list[str]) -> None:
    code = (
        f"import runpy, sys; sys.argv = {[*command, '--logs', str(logs)]!r}\n"
        f"runpy.run_path('src/{command[0]}.py', run_name='__main__')\n"
        "sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    )
    done = run("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
