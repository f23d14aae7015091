"""What a server starts with: the files and packages of docker/Dockerfile, without Docker, options, a port."""

import json
import re
import shutil
import socket
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from canopy.serve.__main__ import read_settings
from packages import ROOT, execute

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


def test_it_imports_no_package_that_the_image_lacks() -> None:
    known, new = set[str](), [Requirement(line) for line in REQUIREMENTS]
    while new:
        found = new.pop()
        if canonicalize_name(found.name) not in known:
            known.add(canonicalize_name(found.name))
            needed = map(Requirement, requires(found.name) or ())
            extras = found.extras or {""}
            new += [
                own
                for own in needed
                if own.marker is None or any(own.marker.evaluate({"extra": extra}) for extra in extras)
            ]
    # Tools for development are imported by any Python.
    code = (
        "import sys; before = {*sys.modules}\nimport canopy.serve.__main__\n"
        "print(*{name.partition('.')[0] for name in {*sys.modules} - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = packages_distributions()
    imported = {
        name: [canonicalize_name(package) for package in packages[name]]
        for name in done.stdout.split()
        if name in packages and name != "canopy"
    }
    # These are used where they are.
    optional = {"cloudpickle", "sniffio"}
    assert {name for name, found in imported.items() if known.isdisjoint(found)} <= optional


@pytest.mark.slow
def test_files_of_the_image_serve(bundle: Path, start_command: Any, tmp_path: Path) -> None:
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
    with start_command(python, *arguments, "port={port}", cwd=folder, env=environment) as server:
        answer = server.post("/predict", {"rows": [{"weight": 120.5, "size": 9, "colour": "colour2"}]})
        assert answer.status_code == 200, server.log.read_text()


def test_a_port_that_is_taken_is_told(bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = (f"bundle={bundle}", f"port={port}", f"hydra.run.dir={tmp_path}/log")
        done = execute("python", "src/serve.py", *options, folder=ROOT, check=False)
    assert done.returncode == 1
    message = f"must be a free address of this machine; got 127.0.0.1:{port}: Address already in use"
    assert message in done.stderr
    assert not any(text in done.stderr for text in ("Serving", "Traceback (most"))


@pytest.mark.parametrize(
    "argument",
    [
        *("bundl=a", "api_key=a", "host=", "port=99999", "workers=0", "workers=abc", "n_threads=1000"),
        *("stop_seconds=null", "cors_origins=https://a.example", "cors_origins=[a.example]"),
    ],
)
def test_invalid_options_are_refused(monkeypatch: pytest.MonkeyPatch, argument: str) -> None:
    monkeypatch.chdir(ROOT)
    assert read_settings(["port=9000"]).port == 9000
    with pytest.raises(ValueError, match=f"validation error for Settings\n{argument.partition('=')[0]}"):
        read_settings([argument])
