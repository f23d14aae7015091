"""Launchers of Hydra under our sweeper: jobs that run in other processes, a batch at a time."""

from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf
from optuna.trial import TrialState

from canopy.runs.run import Run
from canopy.sweep.storage import open_storage
from sweep_app import ROOT, SPACE, App

LAUNCHERS = sorted(path.stem for path in (ROOT / "configs/hydra/launcher").glob("*.yaml"))
needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason='Ray is not installed: pip install --editable ".[ray]"'
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "start_of_a_batch"),
    [("joblib", "Joblib.Parallel"), ("submitit_local", "Submitit 'local' sweep")],
)
def test_each_trial_is_done_once(launcher: str, start_of_a_batch: str, tmp_path: Path) -> None:
    app = App(tmp_path)
    options = ("hydra.sweeper.n_trials=6", f"hydra/launcher={launcher}", "hydra.sweeper.n_jobs=2")
    # One that waits and one that is done: the first batch is not of consecutive numbers.
    study = optuna.create_study(study_name="s", storage=open_storage(app.url))
    study.enqueue_trial({"x": 1.0, "y": 2.0})
    study.add_trial(optuna.create_trial(value=0.0))
    study.set_user_attr("folder", str(tmp_path / "sweep"))
    assert app.run(*SPACE, *options).count(start_of_a_batch) == 3
    assert [trial.state for trial in app.trials()] == [TrialState.COMPLETE] * 6
    first, _, *others = app.trials()
    assert first.params == {"x": 1.0, "y": 2.0}
    assert len({tuple(trial.params.values()) for trial in others}) == 4
    for trial in (first, *others):
        assert trial.value == sum(value**2 for value in trial.params.values())
        assert Path(trial.user_attrs["run"]) == tmp_path / "sweep" / str(trial.number)
    assert "0 of 6 trials left" in app.run(*SPACE, *options)


def test_a_batch_is_told_whole_before_failures_end_the_sweep(tmp_path: Path) -> None:
    app = App(tmp_path)
    output = app.run(
        *("hydra/launcher=joblib", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=2"),
        *("fails=choice(true,false)", "hydra/sweeper/sampler=grid", "hydra.sweeper.max_failure_rate=0"),
        check=False,
    )
    assert "At most 0 of 2 trials may fail" in output
    assert sorted(trial.state.name for trial in app.trials()) == ["COMPLETE", "FAIL"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", pytest.param("ray_local", marks=needs_ray)])
def test_a_pruned_trial_is_one_whichever_process_ran_it(launcher: str, tensors: Path, tmp_path: Path) -> None:
    app = App(tmp_path, ROOT / "src/train.py")
    app.run(
        *("sweep=mlp", "trainer=cpu", "trainer.max_epochs=3", "trainer.log_every_n_steps=5"),
        *("data.batch_size=32", f"pipeline.paths.processed={tensors}", "hydra.sweeper.n_trials=2"),
        *(f"hydra/launcher={launcher}", "hydra.sweeper.n_jobs=2", "hydra/sweeper/pruner=none"),
        "hydra.sweeper.pruner._target_=optuna.pruners.ThresholdPruner",
        *("+hydra.sweeper.pruner.lower=2", "+hydra.sweeper.pruner.n_warmup_steps=2"),
    )
    for trial in app.trials():
        assert trial.state == TrialState.PRUNED
        assert list(trial.intermediate_values) == [1, 2]
        record = Run(ROOT / trial.user_attrs["run"]).record
        assert record["trial"] == {"study": "s", "number": trial.number}
        assert (record["status"], record["training"]["epochs"]) == ("pruned", 2)
        # Not the worker's process, which only hands out trials.
        assert record["process"]["pid"] != trial.user_attrs["worker"]["pid"]
        assert Path(trial.user_attrs["run"]).name.startswith(f"{trial.number}_")


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_s_config_composes(launcher: str) -> None:
    Plugins.instance()
    if find_spec("ray") is None:
        # What its plugin would register, which is too large to be installed for a test.
        node = {"_target_": "RayLauncher", "ray": {"init": {"address": None}, "remote": {}}}
        ConfigStore.instance().store(
            group="hydra/launcher", name="ray", node=node, provider="stand-in", replace=True
        )
    overrides = ["sweep=mlp", f"hydra/launcher={launcher}", "hydra.sweeper.n_jobs=16"]
    with initialize_config_dir(str(ROOT / "configs"), job_name="train"):
        cfg = compose("train", overrides, return_hydra_config=True).hydra.launcher
    assert cfg._target_.endswith(("SlurmLauncher", "RayLauncher"))
    assert "???" not in OmegaConf.to_yaml(cfg)
