"""What a person meets on the command line: help, completion, the answer to a mistake."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = ("train", "evaluate", "export", "compress", "predict")


def run(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_help_shows_groups_choices_and_three_commands() -> None:
    text = run("src/train.py", "--help").stdout
    assert text.count("python src/train.py ") == 3
    for group in ("callbacks", "data", "debug", "experiment", "logger", "model", "trainer"):
        choices = {path.stem for path in (ROOT / "configs").glob(f"**/{group}/*.yaml")}
        # What params.yaml says under `train`.
        choices |= {"params"} if group == "experiment" else set()
        assert f"{group}: {', '.join(sorted(choices))}\n" in text


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        (
            "trainer=gpuu",
            "trainer must be one of cpu, ddp, ddp_sim, default, gpu, mps; got 'gpuu' (did you mean 'gpu'",
        ),
        ("trainr=cpu", "Did you mean: 'trainer'?"),
        ("trainer.max_epoch=3", "Did you mean: 'max_epochs'?"),
        ("trainer.max_epochs=[1", "no viable alternative"),
    ],
)
def test_a_misspelt_override_names_what_is_near(override: str, answer: str) -> None:
    done = run("src/train.py", override)
    assert done.returncode == 1
    assert answer in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["src/train.py"], "run in the project's folder, next to params.yaml; found none in {}"),
        (
            ["src/init_dataset.py", "a.csv", "--target", "b"],
            "Commands must run in the project's folder, which has datasets/; got {}",
        ),
        (
            ["src/runs.py"],
            "Runs must be in logs/train of a project; found no such folder in {}: change to the "
            "project's folder, train a run, or name runs or --logs",
        ),
        (
            ["src/compare.py", "a", "b"],
            "a must be a run's folder or name; found none of that name in {}/logs/train: "
            '"python src/runs.py" lists them',
        ),
    ],
)
def test_command_outside_a_project_is_refused(words: list[str], message: str, tmp_path: Path) -> None:
    done = run(str(ROOT / words[0]), *words[1:], folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.endswith(f"{message.format(tmp_path)}\n")
    assert done.stderr.count("\n") == 1
    assert [*tmp_path.iterdir()] == []


def test_runs_of_a_new_project_are_none(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    (tmp_path / "logs").mkdir()
    done = run(str(ROOT / "src/runs.py"), folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Nothing to list: there are no runs yet\n")


@pytest.mark.parametrize("name", ["2024", "1e5", "on", "my (old), [run]"])
def test_path_options_are_texts(name: str, tmp_path: Path) -> None:
    done = run(str(ROOT / "src/predict.py"), f"run={name}", "input=a", "output=b", folder=tmp_path)
    assert f"Error: A run folder must hold config.yaml; found none in {name}: " in done.stderr


def test_a_linked_environment_is_refused(tmp_path: Path) -> None:
    """To install this checkout there would take it away from the other one."""
    other = tmp_path / "other"
    other.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").symlink_to(other)
    done = subprocess.run(
        ["make", "install", f"PYTHON={sys.executable}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert ".venv must be a folder of this checkout; found a link" in done.stderr
    assert [*other.iterdir()] == []


def test_the_package_of_another_checkout_is_refused(
    tmp_path: Path, copy_project: Callable[..., None]
) -> None:
    """A stage would run that one's code, and DVC would take the result for this one's."""
    copy_project(tmp_path, "scripts", "src", "configs", "params.yaml")
    command = [sys.executable, "scripts/split.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: The package canopy must be that of the same checkout, {tmp_path}/src/canopy; found "
        f'{ROOT}/src/canopy; run "make install" there, or set PYTHONPATH=src\n'
    )
    environment["PYTHONPATH"] = "src"
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "drop_columns.csv must exist" in done.stderr


def test_another_preparation_must_be_named() -> None:
    done = run("scripts/prepare.py")
    assert done.returncode == 1
    assert "preparation must name a choice of configs/preparation/; found none" in done.stderr


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
        ("train", "model.opt", ["model.optimizer."]),
        ("train", "trainer.max_e", ["trainer.max_epochs="]),
        ("evaluate", "spl", ["split="]),
        ("predict", "acc", ["accelerator="]),
    ],
)
def test_bash_completes(command: str, typed: str, completed: list[str]) -> None:
    script = COMPLETE.format(script=f"src/{command}.py", typed=typed)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == completed
    assert done.stderr == ""
