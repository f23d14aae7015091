"""The project's configs, and its copies and clones: their packages, commands and server."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

ROOT = Path(__file__).parents[1]
# What stands for `make install` in a clone: shell commands, run in its folder.
INSTALL = (
    f"mkdir .venv; ln -s {sys.prefix}/bin {sys.prefix}/lib .venv; "
    f"if [ -f {sys.prefix}/pyvenv.cfg ]; then cp {sys.prefix}/pyvenv.cfg .venv; fi; touch .venv/.installed"
)


def composed(name: str, *overrides: str) -> DictConfig:
    """Compose a primary config of the project."""
    with initialize_config_dir(str(ROOT / "configs"), job_name=name):
        return compose(name, [*overrides])


def environment(folder: Path) -> dict[str, str]:
    """Let commands find the sources of the project that a folder is in."""
    project = next(path for path in (folder, *folder.parents) if (path / "src/canopy").is_dir())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(project / "src")}


def execute(*command: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    env = environment(folder)
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def served(folder: Path, script: str = "src/serve.py", options: tuple[str, ...] = ()) -> Iterator[str]:
    """Serve the model of a project or data set; gives the address."""
    port = free_port()
    url, command = f"http://127.0.0.1:{port}", ["python", script, f"port={port}", *options]
    with (folder / "logs/serve.txt").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=log, stderr=log)
    try:
        for _ in range(300):
            assert server.poll() is None, (folder / "logs/serve.txt").read_text()
            with suppress(requests.ConnectionError):
                requests.get(f"{url}/ready", timeout=5).raise_for_status()
                break
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(30)


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)
