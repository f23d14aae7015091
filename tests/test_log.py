"""What a command says, where and how, tried as a user runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ESCAPE = "\x1b["


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log")


def stage(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a stage that fails: its input is not there."""
    command = [sys.executable, "scripts/split.py", "paths.interim=nowhere", f"hydra.run.dir={folder}"]
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    return subprocess.run(
        command, cwd=ROOT, env=env | environment, capture_output=True, text=True, check=False
    )


def test_a_pipe_and_a_file_have_no_colour(folder: Path) -> None:
    done = stage(folder)
    assert done.returncode == 1
    assert ESCAPE not in done.stdout + done.stderr
    assert "nowhere" in done.stderr


def test_a_terminal_has_colour_and_its_file_has_none(folder: Path) -> None:
    command = (
        "import logging.config, yaml, logging\n"
        "logging.config.dictConfig(yaml.safe_load(open('job.yaml')))\n"
        "logging.getLogger('canopy').warning('careful')\n"
    )
    config = subprocess.run(
        [sys.executable, "scripts/split.py", "--cfg", "hydra", "--resolve", "-p", "hydra.job_logging"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (folder / "job.yaml").write_text(
        re.sub("filename: .*", f"filename: {folder / 'job.log'}", config.replace("???", "job"))
    )
    outputs = {}
    for name, environment in (("forced", {"FORCE_COLOR": "1"}), ("refused", {"NO_COLOR": "1"})):
        env = {**os.environ, **environment}
        done = subprocess.run(
            [sys.executable, "-c", command], cwd=folder, env=env, capture_output=True, text=True, check=True
        )
        outputs[name] = done.stdout
    assert ESCAPE in outputs["forced"]
    assert "careful" in outputs["forced"]
    assert ESCAPE not in outputs["refused"]
    kept = (folder / "job.log").read_text()
    assert kept.count("WARNING canopy: careful") == 2
    assert ESCAPE not in kept


@pytest.mark.slow
def test_warnings_go_to_the_log_on_one_line(tensors: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "src/train.py", "trainer=cpu", "trainer.max_epochs=1", "model.net.hidden=[8]"),
        *(f"pipeline.paths.processed={tensors}", f"hydra.run.dir={tmp_path / 'run'}", "logger=csv"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    expected = "WARNING warnings: PossibleUserWarning: The number of training batches (1) is smaller"
    for text in (done.stdout, (tmp_path / "run/train.log").read_text()):
        (line,) = [line for line in text.splitlines() if expected in line]
        assert line.endswith(")")
    assert done.stderr == ""
