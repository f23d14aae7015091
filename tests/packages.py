"""Copies and clones of the project: their packages, commands and server."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

# What stands for `make install` in a clone: shell commands, run in its folder.
INSTALL = (
    f"mkdir .venv; ln -s {sys.prefix}/bin {sys.prefix}/lib .venv; "
    f"if [ -f {sys.prefix}/pyvenv.cfg ]; then cp {sys.prefix}/pyvenv.cfg .venv; fi; touch .venv/.installed"
)


def environment(folder: Path) -> dict[str, str]:
    """Let commands find the sources of the project that a folder is in."""
    project = next(path for path in (folder, *folder.parents) if (path / "src/canopy").is_dir())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(project / "src")}


def execute(*command: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


@contextmanager
def served(folder: Path, script: str = "src/serve.py", options: tuple[str, ...] = ()) -> Iterator[str]:
    """Serve the model of a project or data set; gives the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = ["python", script, f"port={url.rpartition(':')[2]}", *options]
    with (folder / "logs/serve.txt").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=log, stderr=log)
    try:
        for _ in range(300):
            assert server.poll() is None, (folder / "logs/serve.txt").read_text()
            try:
                requests.get(f"{url}/ready", timeout=5).raise_for_status()
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(30)
