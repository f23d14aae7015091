"""A sweep on a Ray cluster of several nodes with PostgreSQL, all on the loopback interface."""

import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from canopy.runs.run import Run
from ray_nodes import Node, needs_ray, ray_cluster
from sweep_app import ROOT, App

pytestmark = [pytest.mark.slow, needs_ray]
N_TRIALS = 3


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[Node]]]:
    with ray_cluster() as found:
        yield found


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
    while not all(node.running("_run_job") for node in nodes):
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
