"""The two commands as one types them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"src/{script}.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def two_runs(make_run: Callable[..., Path], evaluate: Callable[..., None]) -> None:
    evaluate(make_run("a", score=0.75), LABELS, LABELS)
    evaluate(make_run("b", score=0.5), LABELS, np.zeros_like(LABELS))


@pytest.mark.usefixtures("two_runs")
def test_runs_are_listed_with_a_word_on_damaged_ones(logs: Path, make_run: Callable[..., Path]) -> None:
    (make_run("c") / "run.json").write_text("{")
    done = run("runs", "--logs", logs, "--columns", "best,seed", "--sort", "-best")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["name", "status", "best", "seed"],
        ["a", "finished", "0.75", "0"],
        ["b", "finished", "0.50", "0"],
        ["c", "damaged", "-", "0"],
    ]
    assert done.stderr.startswith(
        f"Warning: {logs / 'train/runs/c/run.json'} cannot be used; found Expecting"
    )
    assert done.returncode == 0


@pytest.mark.usefixtures("two_runs")
def test_a_folder_of_runs_is_summarized(logs: Path) -> None:
    done = run("runs", logs / "train/runs", "--logs", logs, "--summary", "--columns", "test.accuracy")
    assert done.stdout.splitlines()[-1].split()[:5] == ["2", "test.accuracy", "0.8000", "±", "0.2828"]
    assert done.stdout == run("runs", "--logs", logs, "--summary", "--columns", "test.accuracy").stdout


@pytest.mark.usefixtures("two_runs")
def test_two_runs_are_compared_by_name(logs: Path) -> None:
    done = run("compare", "b", "a", "--logs", logs)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("B is better than A: accuracy +0.40")


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["runs", "--columns", "sed"],
            "Error: A key must be one of a run's config, record or scores; found 'sed'",
        ),
        (["runs", "nowhere"], "Error: nowhere must be a run or hold runs; found no such folder"),
        (["runs", "params.yaml"], "Error: params.yaml must be a run or hold runs; found a file"),
        (["compare", "a", "c"], "Error: c must be a run's folder or name; found none"),
        (
            ["compare", "a", "b", "--split", "val"],
            "Error: A run to compare must be evaluated on its val rows",
        ),
    ],
)
def test_a_mistake_is_one_line(logs: Path, command: list[str], message: str) -> None:
    done = run(*command, "--logs", logs)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize("command", [["runs"], ["runs", "--summary"], ["compare", "a", "b"]])
def test_the_commands_do_not_wait_for_torch(logs: Path, command: list[str]) -> None:
    code = (
        f"import runpy, sys; sys.argv = {[*command, '--logs', str(logs)]!r}\n"
        f"runpy.run_path('src/{command[0]}.py', run_name='__main__')\n"
        "sys.exit(bool({'torch', 'lightning', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
