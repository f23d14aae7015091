"""A sweep on a Ray cluster of several nodes with PostgreSQL, all on the loopback interface."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from canopy.runs.run import Run
from sweep_app import ROOT, App

pytest.importorskip("ray", reason='pip install --editable ".[ray]"')
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]
N_TRIALS = 3


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that runs no trial and two nodes of one core each, which share this machine's folders."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    node = {"node_ip_address": "127.0.0.2", "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0}, shutdown_at_exit=False)
    for _ in range(2):
        cluster.add_node(**node, num_cpus=1)
    yield cluster
    cluster.shutdown()


def trials_on(node: Any) -> list[psutil.Process]:
    """List the processes that run a trial on a node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [process for process in raylet.children() if "_run_job" in "".join(process.cmdline())]


def test_sweep_whose_node_is_killed_ends_clearly_and_is_completed_by_the_same_command(
    cluster: Any, postgresql: str, tensors: Path, tmp_path: Path
) -> None:
    app = App(tmp_path, ROOT / "src/train.py")
    options = (
        *("sweep=mlp", "hydra/launcher=ray_cluster", "hydra.sweeper.n_jobs=2", "hydra/sweeper/pruner=none"),
        *("hydra.launcher.ray.remote.num_cpus=1", f"hydra.sweeper.storage={postgresql}", "trainer=cpu"),
        *(f"hydra.sweeper.n_trials={N_TRIALS}", "hydra.sweeper.study_name=cluster", "trainer.max_epochs=10"),
        *("data.batch_size=32", f"pipeline.paths.processed={tensors}"),
    )
    address = {"RAY_ADDRESS": cluster.address}
    process = app.start(*options, **address)
    first, second = cluster.worker_nodes
    while not (trials_on(first) and trials_on(second)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    cluster.remove_node(second, allow_graceful=False)
    (output,) = app.outputs(process, check=False)
    assert process.returncode == 1
    assert "process must live until it ends; got NodeDiedError: Task failed because the node" in output
    assert "Traceback (most" not in output
    (output,) = app.outputs(app.start(*options, **address))
    assert f"{N_TRIALS} complete" in output
    storage = optuna.storages.RDBStorage(postgresql)
    trials = optuna.load_study(study_name="cluster", storage=storage).trials
    storage.engine.dispose()
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(done) == len({tuple(trial.params.values()) for trial in done}) == N_TRIALS
    for trial in done:
        assert trial.value == Run(ROOT / trial.user_attrs["run"]).record["best"]["score"]
