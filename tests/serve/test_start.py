"""What keeps a server from starting: a bundle, an option, a port."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from canopy.serve.__main__ import read_settings

ROOT = Path(__file__).parents[2]


def failure(folder: Path, *options: str) -> str:
    """Start a server that must not start; gives what it says."""
    command = [sys.executable, "src/serve.py", *options, f"hydra.run.dir={folder}/log"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert not any(text in done.stderr for text in ("Serving", "Traceback (most"))
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.onnx", "model.pt2", "model.json"])
def test_a_changed_bundle_is_not_served(bundle: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-10])
    assert f"{name} must" in failure(tmp_path, f"bundle={copy}")


def test_a_port_that_is_taken_is_told(bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = failure(tmp_path, f"bundle={bundle}", f"port={port}")
    assert f"must be a free address of this machine; got 127.0.0.1:{port}: Address already in use" in found


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
