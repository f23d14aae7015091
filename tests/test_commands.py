"""What a person meets on the command line: help, completion, the answer to a mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_help_shows_groups_choices_and_three_commands() -> None:
    text = run("python", "src/train.py", "--help").stdout
    assert text.count("python src/train.py ") == 3
    for group in ("callbacks", "data", "debug", "experiment", "logger", "model", "trainer"):
        choices = {path.stem for path in (ROOT / "configs").glob(f"**/{group}/*.yaml")}
        # What params.yaml says under `train`.
        choices |= {"params"} if group == "experiment" else set()
        assert f"{group}: {', '.join(sorted(choices))}\n" in text


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (
            "src/train.py trainer=gpuu",
            "trainer must be one of cpu, ddp, ddp_sim, default, gpu, mps; got 'gpuu' (did you mean 'gpu'",
        ),
        ("src/train.py trainr=cpu", "Did you mean: 'trainer'?"),
        ("src/train.py trainer.max_epoch=3", "Did you mean: 'max_epochs'?"),
        ("src/train.py repeat=a", "The option must be called reproduce; got 'repeat=a'"),
        ("src/predict.py input=my file.csv", "got 'file.csv': quote blanks, as 'input=my file.csv'"),
        ("src/predict.py input = file.csv", "got 'input': write it without blanks"),
        ("src/predict.py batch_size=(8", "in Hydra's grammar; got 'batch_size=(8' (extraneous input"),
        ("scripts/prepare.py", "preparation must name a choice of configs/preparation/; found none"),
    ],
)
def test_a_mistake_is_answered_in_a_line(words: str, answer: str) -> None:
    done = run("python", *words.split())
    assert done.returncode == 1
    assert answer in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert "Traceback (most recent call last)" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train.py", "run in the project's folder, next to params.yaml; found none in {}"),
        ("experiments.py", "run in the project's folder, next to params.yaml; found none in {}"),
        ("init_dataset.py a.csv --target b", "run in the project's folder, which has datasets/; got {}"),
        ("runs.py", "logs/train of a project; found no such folder in {}: change to the project's folder"),
        ("compare.py a b", "a must be a run's folder or name; found none of that name in {}/logs/train"),
    ],
)
def test_command_outside_a_project_is_refused(words: str, message: str, tmp_path: Path) -> None:
    script, *arguments = words.split()
    done = run("python", f"{ROOT}/src/{script}", *arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert message.format(tmp_path) in done.stderr
    assert done.stderr.count("\n") == 1
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["1e5", "my (old), [run]"])
def test_path_options_are_texts(name: str, tmp_path: Path) -> None:
    done = run("python", f"{ROOT}/src/predict.py", f"run={name}", "input=a", "output=b", folder=tmp_path)
    assert f"Error: A run folder must hold config.yaml; found none in {name}: " in done.stderr


def test_a_linked_environment_is_refused(tmp_path: Path) -> None:
    """To install this checkout there would take it away from the other one."""
    (tmp_path / "other").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").symlink_to(tmp_path / "other")
    done = run("make", "install", f"PYTHON={sys.executable}", folder=tmp_path)
    assert done.returncode == 2
    assert ".venv must be a folder of this checkout; found a link" in done.stderr
    assert [*(tmp_path / "other").iterdir()] == []


COMPLETE = """
eval "$(python {script} -sc install=bash)"
COMP_LINE="python {script} {typed}"
COMP_POINT=${{#COMP_LINE}}
COMP_CWORD=2
hydra_bash_completion
printf '%s\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("command", "typed", "completed"),
    [
        ("train", "trainer=dd", ["trainer=ddp", "trainer=ddp_sim"]),
        ("train", "trainer.max_e", ["trainer.max_epochs="]),
        ("predict", "acc", ["accelerator="]),
    ],
)
def test_bash_completes(command: str, typed: str, completed: list[str]) -> None:
    done = run("bash", "-c", COMPLETE.format(script=f"src/{command}.py", typed=typed))
    assert done.stdout.split() == completed
    assert done.stderr == ""
