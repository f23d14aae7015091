"""A sweep on a Ray cluster of several nodes with PostgreSQL, all on the loopback interface."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from canopy.runs.run import Run
from packages import free_port
from sweep_app import RAY, ROOT, App

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason='pip install --editable ".[ray]"'),
]
# Ray takes 127.0.0.1 for a name of the machine's own address; on macOS there is no other one.
HOST = "127.0.0.1" if sys.platform == "darwin" else "127.0.0.2"
N_TRIALS = 3


class Node:
    """A node of a Ray cluster, started by `ray start`."""

    def __init__(self, *options: str) -> None:
        command = [Path(sys.executable).parent / "ray", "start", "--block", f"--node-ip-address={HOST}"]
        command += ["--object-store-memory=80000000", "--dashboard-agent-listen-port=0", *options]
        self.process = psutil.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **RAY})
        # Two that start on one machine at the same time take the same ports.
        assert any("Ray runtime started" in line for line in self.process.stdout)

    def trials(self) -> list[psutil.Process]:
        """List its processes that run a trial."""
        found = []
        for process in self.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found += [process] * ("_run_job" in "".join(process.cmdline()))
        return found

    def kill(self) -> None:
        if self.process.poll() is None:
            for process in (*self.process.children(recursive=True), self.process):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[Node]]]:
    """The address of a head, which runs no trial, and two nodes of one core each."""
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


def test_sweep_whose_node_is_killed_ends_clearly_and_is_completed_by_the_same_command(
    cluster: tuple[str, list[Node]], postgresql: str, tensors: Path, tmp_path: Path
) -> None:
    app, (address, nodes) = App(tmp_path, ROOT / "src/train.py"), cluster
    options = (
        *("sweep=mlp", "hydra/launcher=ray_cluster", "hydra.sweeper.n_jobs=2", "hydra/sweeper/pruner=none"),
        *("hydra.launcher.ray.remote.num_cpus=1", f"hydra.sweeper.storage={postgresql}", "trainer=cpu"),
        *(f"hydra.sweeper.n_trials={N_TRIALS}", "hydra.sweeper.study_name=cluster", "trainer.max_epochs=10"),
        *("data.batch_size=32", f"pipeline.paths.processed={tensors}"),
    )
    process = app.start(*options, RAY_ADDRESS=address)
    while not all(node.trials() for node in nodes):
        assert all(running.poll() is None for running in (process, *(node.process for node in nodes)))
        time.sleep(0.02)
    nodes[1].kill()
    (output,) = app.outputs(process, check=False)
    assert process.returncode == 1
    assert "process must live until it ends; got NodeDiedError: Task failed because the node" in output
    assert "Traceback (most" not in output
    (output,) = app.outputs(app.start(*options, RAY_ADDRESS=address))
    assert f"{N_TRIALS} complete" in output
    storage = optuna.storages.RDBStorage(postgresql)
    trials = optuna.load_study(study_name="cluster", storage=storage).trials
    storage.engine.dispose()
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(done) == len({tuple(trial.params.values()) for trial in done}) == N_TRIALS
    for trial in done:
        assert trial.value == Run(ROOT / trial.user_attrs["run"]).record["best"]["score"]
