"""Sweeps of training runs, started as a user starts them, on small tensors."""

import json
import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from canopy.runs.run import Run
from sweep_app import ROOT, App

pytestmark = pytest.mark.slow
# On a machine of one core, too, joblib starts processes.
JOBLIB, RAY = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"), ("hydra/launcher=ray_local",)
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason='pip install --editable ".[ray]"')


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path, ROOT / "src/train.py")


@pytest.fixture
def small(tensors: Path) -> tuple[str, ...]:
    return (
        *("sweep=mlp", "trainer=cpu", "trainer.max_epochs=3", "trainer.log_every_n_steps=5"),
        *("data.batch_size=32", f"pipeline.paths.processed={tensors}", "hydra.sweeper.n_trials=3"),
    )


def run_of(trial: FrozenTrial) -> Run:
    return Run(ROOT / trial.user_attrs["run"])


def test_values_and_steps_are_those_of_the_runs(app: App, small: tuple[str, ...]) -> None:
    output = app.run(*small, "sweep=mlp_periodic", "hydra.sweeper.n_jobs=2", "hydra/sweeper/pruner=none")
    assert "3 complete" in output
    for trial in app.trials():
        record = run_of(trial).record
        assert record["status"] == "finished"
        assert record["trial"] == {"study": "s", "number": trial.number}
        assert trial.value == record["best"]["score"] == max(trial.intermediate_values.values())
        assert list(trial.intermediate_values) == [1, 2, 3]
        assert run_of(trial).config.model.optimizer.lr == pytest.approx(trial.params["model.optimizer.lr"])
        assert record["machine"]["n_threads"] == 1, "two workers share the two cores"


@pytest.mark.parametrize("launcher", [JOBLIB, pytest.param(RAY, marks=needs_ray)], ids=["joblib", "ray"])
def test_a_pruned_trial_is_one_whichever_process_ran_it(
    app: App, small: tuple[str, ...], launcher: tuple[str, ...]
) -> None:
    app.run(
        *(*small, *launcher, "hydra.sweeper.n_jobs=2", "hydra/sweeper/pruner=none"),
        *("hydra.sweeper.n_trials=2", "hydra.sweeper.pruner._target_=optuna.pruners.ThresholdPruner"),
        *("+hydra.sweeper.pruner.lower=2", "+hydra.sweeper.pruner.n_warmup_steps=2"),
    )
    for trial in app.trials():
        assert trial.state == TrialState.PRUNED
        assert list(trial.intermediate_values) == [1, 2]
        record = run_of(trial).record
        assert (record["status"], record["training"]["epochs"]) == ("pruned", 2)
        # Not the worker's process, which only hands out trials.
        assert record["process"]["pid"] != trial.user_attrs["worker"]["pid"]
        assert run_of(trial).path.name.startswith(f"{trial.number}_")


def test_a_diverged_trial_fails_alone(app: App, small: tuple[str, ...]) -> None:
    app.run(
        *(*small, "model.optimizer.lr=choice(0.01,1e30)", "hydra/sweeper/sampler=grid"),
        *("hydra.sweeper.params=null", "hydra.sweeper.max_failure_rate=0.5"),
    )
    good, bad = sorted(app.trials(), key=lambda trial: float(trial.params["model.optimizer.lr"]))
    assert (good.state, bad.state) == (TrialState.COMPLETE, TrialState.FAIL)
    assert "ValueError: The loss must stay finite; found nan" in bad.user_attrs["reason"]
    assert run_of(bad).record["status"] == "failed"


def test_several_objectives_and_a_bound(app: App, small: tuple[str, ...]) -> None:
    app.run(
        *(*small, "objective.returns=[best.score,training.n_parameters]"),
        *("hydra.sweeper.direction=[maximize,minimize]", "hydra.sweeper.n_trials=4"),
        "hydra.sweeper.constraints=['training.n_parameters<=200000']",
    )
    study = optuna.load_study(study_name="s", storage=app.url)
    assert study.user_attrs["monitor"] == ["best.score", "training.n_parameters"]
    for trial in study.trials:
        record = run_of(trial).record
        assert trial.values == [record["best"]["score"], record["training"]["n_parameters"]]
        assert trial.constraints == {"training.n_parameters": record["training"]["n_parameters"] - 200_000}
        assert not trial.intermediate_values


@pytest.mark.parametrize(("number", "n_jobs"), [(signal.SIGTERM, 2), (signal.SIGINT, 1), (signal.SIGKILL, 1)])
def test_a_trial_whose_run_has_finished_is_complete_however_the_sweep_ends(
    app: App, small: tuple[str, ...], number: signal.Signals, n_jobs: int
) -> None:
    bound = "hydra.sweeper.constraints=['training.n_parameters<=1']"
    options = (*small, f"hydra.sweeper.n_jobs={n_jobs}", bound)

    def finished() -> set[int]:
        records = [json.loads(path.read_text()) for path in (app.folder / "sweep").glob("*/run.json")]
        return {record["trial"]["number"] for record in records if record["status"] == "finished"}

    process = app.start(*options, "hydra.sweeper.n_trials=8")
    while len(finished()) < 2:
        assert process.poll() is None
        time.sleep(0.002)
    # At this moment the study has not heard of it.
    (os.killpg if number == signal.SIGKILL else os.kill)(process.pid, number)
    (output,) = app.outputs(process, check=False)
    assert "Traceback" not in output
    expected = finished()
    # A command that does what is left of the sweep trains none of them again.
    app.run(*options, f"hydra.sweeper.n_trials={len(expected)}")
    complete = [trial for trial in app.trials() if trial.state == TrialState.COMPLETE]
    assert {trial.number for trial in complete} == expected
    for trial in complete:
        assert trial.values == [run_of(trial).record["best"]["score"]]
        assert trial.constraints["training.n_parameters"] > 0


def test_what_would_be_silently_wrong_is_refused(app: App, small: tuple[str, ...]) -> None:
    for override, message in (
        ("trainer=ddp_sim", "must train in one process; got 2: set refit=false, or trainer.devices=1"),
        ("objective.returns=[best.scores]", "must name numbers of run.json; found best.scores"),
    ):
        output = app.run(*small, override, "hydra.sweeper.max_failure_rate=0", check=False)
        assert message in output
        assert "Traceback" not in output
