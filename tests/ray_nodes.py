"""A Ray cluster of several nodes on the loopback interface, started as a user does."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from packages import free_port
from sweep_app import RAY

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason='pip install --editable ".[ray]"')
# Ray takes 127.0.0.1 for a name of the machine's own address; on macOS there is no other one.
HOST = "127.0.0.1" if sys.platform == "darwin" else "127.0.0.2"


class Node:
    """A node of a Ray cluster, started as a user does."""

    def __init__(self, *options: str) -> None:
        command = [Path(sys.executable).parent / "ray", "start", "--block", f"--node-ip-address={HOST}"]
        command += ["--object-store-memory=80000000", "--dashboard-agent-listen-port=0", *options]
        self.process = psutil.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **RAY})
        # Two that start on one machine at the same time take the same ports.
        assert any("Ray runtime started" in line for line in self.process.stdout)

    def running(self, function: str) -> list[psutil.Process]:
        """List its processes that run a function."""
        found = []
        for process in self.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found += [process] * (function in "".join(process.cmdline()))
        return found

    def kill(self) -> None:
        if self.process.poll() is None:
            for process in (*self.process.children(recursive=True), self.process):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()
        self.process.stdout.close()


@contextmanager
def ray_cluster() -> Iterator[tuple[str, list[Node]]]:
    """Start a head, which runs nothing, and two nodes of one core each; gives its address and the nodes."""
    port = free_port()
    with ExitStack() as stack:
        # In it are sockets, whose paths are short.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
        of_head = (f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false", "--num-cpus=0")
        nodes = []
        for options in (("--head", *of_head), *[(f"--address={HOST}:{port}", "--num-cpus=1")] * 2):
            nodes.append(Node(*options))
            stack.callback(nodes[-1].kill)
        yield f"{HOST}:{port}", nodes[1:]
