"""What a command says, where and how, tried as a user runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ESCAPE = "\x1b["
LOG = """
import logging.config, yaml, logging
logging.config.dictConfig(yaml.safe_load(open('job.yaml')))
logging.getLogger('canopy').warning('careful')
"""


def run(*words: str, folder: Path = ROOT, **environment: str) -> str:
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, *words]
    done = subprocess.run(
        command, cwd=folder, env=env | environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_a_terminal_has_colour_and_a_pipe_and_a_file_have_none(tmp_path: Path) -> None:
    config = run("scripts/split.py", "--cfg", "hydra", "--resolve", "-p", "hydra.job_logging")
    config = re.sub("filename: .*", f"filename: {tmp_path / 'job.log'}", config.replace("???", "job"))
    (tmp_path / "job.yaml").write_text(config)
    for environment, has_colour in (({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False), ({}, False)):
        output = run("-c", LOG, folder=tmp_path, **environment)
        assert "careful" in output
        assert (ESCAPE in output) == has_colour
    kept = (tmp_path / "job.log").read_text()
    assert kept.count("WARNING canopy: careful") == 3
    assert ESCAPE not in kept


@pytest.mark.slow
def test_warnings_go_to_the_log_on_one_line(tensors: Path, tmp_path: Path) -> None:
    output = run(
        *("src/train.py", "trainer=cpu", "trainer.max_epochs=1", "model.net.hidden=[8]", "logger=csv"),
        *(f"pipeline.paths.processed={tensors}", f"hydra.run.dir={tmp_path / 'run'}"),
    )
    expected = "WARNING py.warnings: PossibleUserWarning: The number of training batches (1) is smaller"
    for text in (output, (tmp_path / "run/train.log").read_text()):
        (line,) = [line for line in text.splitlines() if expected in line]
        assert line.endswith(")")
