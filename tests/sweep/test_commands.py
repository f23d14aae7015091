"""The command as one types it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "src/sweep.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_sweeps_and_trials_are_listed(mixed: str) -> None:
    done = run("--storage", mixed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split()[0] == "a"
    done = run("a", "--storage", mixed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Sweep a: maximizes val/accuracy\n6 trials: 2 complete")


def test_a_report_is_written_and_named(mixed: str, tmp_path: Path) -> None:
    done = run("a", "--storage", mixed, "--report", str(tmp_path / "page.html"))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'page.html'}\n"), done.stderr
    assert (tmp_path / "page.html").stat().st_size > 1_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["b"], "Error: A sweep must be one of its storage; got 'b': there is a"),
        (
            ["a", "--best", "mlp"],
            "Error: An experiment must have a new name; got configs/experiment/mlp.yaml",
        ),
        (["a", "--best", "x/y"], "Error: An experiment's name must be letters"),
        (["a", "--best", "new", "--trial", "2"], "Error: A trial to export must be complete; got"),
    ],
)
def test_a_mistake_is_one_line(mixed: str, arguments: list[str], message: str) -> None:
    done = run(*arguments, "--storage", mixed)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_no_storage_is_a_mistake_and_none_is_made(tmp_path: Path) -> None:
    done = run("--storage", f"sqlite:///{tmp_path}/none/sweeps.db")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: A storage of sweeps must exist; got no")
    assert not (tmp_path / "none").exists()
    done = run("--storage", f"sqlite:///{tmp_path}")
    assert done.stderr.startswith(f"Error: A storage of sweeps must exist; got a folder at {tmp_path}: name")


def test_options_that_need_others_are_refused() -> None:
    assert "--trial and --force belong to --best" in run("a", "--trial", "1").stderr
    assert "need the NAME of a sweep" in run("--report").stderr


@pytest.mark.parametrize(
    ("arguments", "modules"),
    [(["--help"], {"optuna", "plotly", "torch"}), (["a"], {"plotly", "torch", "lightning", "pandas"})],
)
def test_the_command_imports_what_it_needs_alone(mixed: str, arguments: list[str], modules: set[str]) -> None:
    code = (
        f"import runpy, sys; sys.argv = {['sweep.py', *arguments, '--storage', mixed]!r}\n"
        "try:\n"
        "    runpy.run_path('src/sweep.py', run_name='__main__')\n"
        "finally:\n"
        f"    assert not {modules!r} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
