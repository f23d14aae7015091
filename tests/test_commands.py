"""What a person meets on the command line: help, completion, the answer to a mistake, the log."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from packages import ROOT

COMMANDS = ("train", "cross_validate", "evaluate", "baselines", "export", "compress", "predict", "serve")


def run(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_choices_and_three_commands_without_importing_torch(command: str) -> None:
    code = (
        f"import runpy, sys; sys.argv = ['{command}.py', '--help']\n"
        f"try:\n    runpy.run_path('src/{command}.py', run_name='__main__')\n"
        "except SystemExit:\n    sys.exit('torch' in sys.modules)"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0
    assert "can be overridden" in done.stdout
    assert done.stdout.count(f"python src/{command}.py") == 3
    groups = ("callbacks", "data", "debug", "experiment", "logger", "model", "trainer")
    for group in groups if command == "train" else ():
        choices = {path.stem for path in (ROOT / "configs").glob(f"**/{group}/*.yaml")}
        # What params.yaml says under `train`.
        choices |= {"params"} if group == "experiment" else set()
        assert f"{group}: {', '.join(sorted(choices))}\n" in done.stdout


def test_a_mistake_is_answered_in_a_line() -> None:
    for words, answer in (
        (
            "src/train.py trainer=gpuu",
            "trainer must be one of cpu, ddp, ddp_sim, default, gpu, mps; got 'gpu",
        ),
        ("src/train.py trainr=cpu", "Did you mean: 'trainer'?"),
        ("src/train.py trainer.max_epoch=3", "Did you mean: 'max_epochs'?"),
        ("src/train.py repeat=a", "The option must be called reproduce; got 'repeat=a'"),
        ("scripts/prepare.py", "preparation must name a choice of configs/preparation/; found none"),
    ):
        done = run("python", *words.split())
        assert (done.returncode, answer in done.stderr) == (1, True), done.stderr
        assert len(done.stderr.splitlines()) <= 3
        assert "Traceback (most recent call last)" not in done.stderr


def test_command_outside_a_project_is_refused(tmp_path: Path) -> None:
    for words, message in (
        ("train.py", "run in the project's folder, next to params.yaml; found none in {}"),
        ("init_dataset.py a.csv --target b", "run in the project's folder, which has datasets/; got {}"),
        ("runs.py", "logs/train of a project; found no such folder in {}: change to the project's folder"),
    ):
        done = run("python", *f"{ROOT}/src/{words}".split(), folder=tmp_path)
        assert done.stderr.startswith("Error: ")
        assert message.format(tmp_path) in done.stderr
        assert (done.returncode, done.stdout, [*tmp_path.iterdir()]) == (1, "", [])
    # A path is a text, never a number.
    done = run("python", f"{ROOT}/src/predict.py", "run=1e5", "input=a", "output=b.csv", folder=tmp_path)
    assert "Error: A run folder must hold config.yaml; found none in 1e5: " in done.stderr


def test_a_linked_environment_is_refused(tmp_path: Path) -> None:
    """To install this checkout there would take it away from the other one."""
    (tmp_path / "other").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(tmp_path / "other")
    done = run("make", "install", f"PYTHON={sys.executable}", folder=tmp_path)
    assert ".venv must be a folder of this checkout; found a link" in done.stderr
    assert (done.returncode, [*(tmp_path / "other").iterdir()]) == (2, [])


def test_bash_completes() -> None:
    for command, typed, completed in (
        ("src/train.py", "trainer=dd", ["trainer=ddp", "trainer=ddp_sim"]),
        ("src/predict.py", "acc", ["accelerator="]),
    ):
        line = (
            f'eval "$(python {command} -sc install=bash)"; COMP_LINE="python {command} {typed}"; COMP_CWORD=2'
        )
        answer = "COMP_POINT=${#COMP_LINE}; hydra_bash_completion; echo ${COMPREPLY[@]}"
        done = run("bash", "-c", f"{line}; {answer}")
        assert (done.stdout.split(), done.stderr) == (completed, "")


@pytest.mark.slow
def test_warnings_go_to_the_log_on_one_line_without_colour_in_a_pipe_or_file(
    tensors: Path, tmp_path: Path
) -> None:
    done = run(
        *("python", "src/train.py", "trainer=cpu", "trainer.max_epochs=1", "logger=csv"),
        *("model.net.hidden=[8]", f"pipeline.paths.processed={tensors}", f"hydra.run.dir={tmp_path / 'run'}"),
    )
    expected = "WARNING warnings: PossibleUserWarning: The number of training batches (1) is smaller"
    assert done.stderr == ""
    for text in (done.stdout, (tmp_path / "run/train.log").read_text()):
        assert (text.count(expected), "\x1b[" in text) == (1, False)
