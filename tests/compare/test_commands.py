"""The commands as one types them."""

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from canopy.runs.run import Run

ROOT = Path(__file__).parents[2]
LABELS = np.repeat([0, 1, 2], [60, 30, 10])
Command = Callable[..., tuple[str, str, object]]


@pytest.fixture
def command(
    make_run: Callable[..., Run],
    evaluate: Callable[..., None],
    logs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run a command on two runs, a better one and a worse; gives what it writes, and how it ends."""
    evaluate(make_run("a", score=0.75), LABELS, LABELS)
    evaluate(make_run("b", score=0.5), LABELS, np.zeros_like(LABELS))

    def run(script: str, *words: str | Path) -> tuple[str, str, object]:
        code: object = 0
        monkeypatch.setattr(sys, "argv", [script, *map(str, words), "--logs", str(logs)])
        try:
            runpy.run_path(str(ROOT / f"src/{script}.py"), run_name="__main__")
        except SystemExit as error:
            code = error.code
        return *capsys.readouterr(), code

    return run


def test_runs_lists_runs_and_warns_of_damaged_ones(command: Command, make_run: Callable[..., Run]) -> None:
    damaged = make_run("c").path / "run.json"
    damaged.write_text("{")
    out, err, code = command("runs", "--columns", "best,seed", "--sort", "-best")
    assert [line.split() for line in out.splitlines()] == [
        ["name", "status", "best", "seed"],
        ["a", "finished", "0.75", "0"],
        ["b", "finished", "0.50", "0"],
        ["c", "damaged", "-", "0"],
    ]
    assert err.startswith(f"Warning: {damaged} cannot be used; found Expecting")
    assert code == 0


@pytest.mark.parametrize(
    ("words", "answer", "ending"),
    [
        ("runs --summary --columns test.accuracy", "2 test.accuracy 0.8000 ± 0.2828", "0"),
        ("compare b a", "B is better than A; B - A: accuracy +0.40", "0"),
        ("runs --columns sed", "", "Error: A key must be one of a run's config, record or scores; found"),
        ("compare a b --split val", "", "Error: A run to compare must be evaluated on its val rows"),
    ],
)
def test_command_answers_or_ends_in_one_line(command: Command, words: str, answer: str, ending: str) -> None:
    out, err, code = command(*words.split())
    assert answer in " ".join(out.split())
    assert (bool(out), err, "\n" in str(code)) == (bool(answer), "", False)
    assert str(code).startswith(ending)


@pytest.mark.usefixtures("command")
def test_commands_do_not_import_torch(logs: Path) -> None:
    code = (
        f"import runpy, sys\nfor words in (['runs'], ['runs', '--summary'], ['compare', 'a', 'b']):\n"
        f"    sys.argv = [*words, '--logs', {str(logs)!r}]\n"
        "    runpy.run_path(f'src/{words[0]}.py', run_name='__main__')\n"
        "sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
