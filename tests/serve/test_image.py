"""What docker/Dockerfile puts into an image is enough to serve: its files and packages, without Docker."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
REQUIREMENTS = [
    line for line in (ROOT / "docker/requirements.txt").read_text().splitlines() if not line.startswith("#")
]


def test_the_versions_are_those_of_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for requirement in REQUIREMENTS:
        pin = re.sub(r"\[.*\]", "", requirement)
        assert re.search(rf"^{re.escape(pin)}\s", lock, re.MULTILINE), requirement
    assert "USER canopy" in DOCKERFILE
    assert not any(name in line for line in REQUIREMENTS for name in ("torch", "lightning", "hydra"))


@pytest.mark.slow
def test_files_of_the_image_serve(bundle: Path, start_command: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "image"
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE.replace("\\\n", ""), re.MULTILINE):
        source, target = line.split()
        path = bundle if source == "${BUNDLE}" else ROOT / source
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, folder / target)
    python = folder / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", folder / "docker/requirements.txt"], check=True)
    (command,) = re.findall(r"^CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    arguments = json.loads(command.replace("host=0.0.0.0", "host=127.0.0.1"))[1:]
    environment = {"PYTHONPATH": "src", "PATH": "/usr/bin:/bin"}
    with start_command(python, *arguments, "port={port}", folder=folder, environment=environment) as server:
        answer = server.post("/predict", {"rows": [{"weight": 120.5, "size": 9, "colour": "colour2"}]})
        assert answer.status_code == 200, server.log.read_text()
