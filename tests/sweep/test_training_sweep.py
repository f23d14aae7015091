"""Sweeps of training runs, started as a user starts them, on small tensors."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from canopy.runs.run import Run
from canopy.sweep.export import export_trial
from canopy.sweep.loading import load_sweep, state_of

ROOT = Path(__file__).parents[2]
Sweep = Callable[..., subprocess.CompletedProcess[str]]
Command = Callable[..., list[str]]


@pytest.fixture
def command(tensors: Path, tmp_path: Path) -> Command:
    """Make the command of a sweep: three trials of three epochs, one worker, over the learning rate."""

    def make(*overrides: str, name: str = "mlp") -> list[str]:
        return [
            *(sys.executable, "src/train.py", "-m", f"sweep={name}", "trainer=cpu", "trainer.max_epochs=3"),
            *("trainer.log_every_n_steps=5", "data.batch_size=32", f"hydra.sweep.dir={tmp_path}/sweep"),
            *(
                f"pipeline.paths.processed={tensors}",
                f"hydra.sweeper.storage=sqlite:///{tmp_path}/studies.db",
            ),
            *("hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=3", *overrides),
        ]

    return make


@pytest.fixture
def sweep(command: Command) -> Sweep:
    def run(*overrides: str, name: str = "mlp", check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command(*overrides, name=name), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


def trials(tmp_path: Path, name: str = "mlp") -> list[FrozenTrial]:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{tmp_path}/studies.db").trials


def run_of(trial: FrozenTrial) -> Run:
    return Run(ROOT / trial.user_attrs["run"])


@pytest.mark.slow
def test_values_and_steps_are_those_of_the_runs(sweep: Sweep, tmp_path: Path) -> None:
    done = sweep("hydra.sweeper.n_jobs=2", "hydra/sweeper/pruner=none", name="mlp_periodic")
    assert "3 complete" in done.stdout
    assert done.stderr == ""
    for trial in trials(tmp_path, "mlp_periodic"):
        record = run_of(trial).record
        assert record["status"] == "finished"
        assert record["trial"] == {"study": "mlp_periodic", "number": trial.number}
        assert trial.value == record["best"]["score"] == max(trial.intermediate_values.values())
        assert list(trial.intermediate_values) == [1, 2, 3]
        config = run_of(trial).config
        assert config.model.optimizer.lr == pytest.approx(trial.params["model.optimizer.lr"])
        assert config.model.net.embedding.d_embedding == trial.params["model.net.embedding.d_embedding"]
        assert record["machine"]["n_threads"] == 1, "two workers share the two cores"


@pytest.mark.slow
def test_a_pruned_trial_is_neither_complete_nor_failed(sweep: Sweep, tmp_path: Path) -> None:
    threshold = "optuna.pruners.ThresholdPruner"
    sweep(
        *("hydra/sweeper/pruner=none", f"hydra.sweeper.pruner._target_={threshold}"),
        *("+hydra.sweeper.pruner.lower=2", "+hydra.sweeper.pruner.n_warmup_steps=2"),
    )
    for trial in trials(tmp_path):
        assert trial.state == TrialState.PRUNED
        assert list(trial.intermediate_values) == [1, 2]
        record = run_of(trial).record
        assert (record["status"], record["training"]["epochs"]) == ("pruned", 2)
    listed = subprocess.run(
        [sys.executable, "src/runs.py", str(tmp_path / "sweep"), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [run["status"] for run in json.loads(listed.stdout)] == ["pruned"] * 3


@pytest.mark.slow
def test_a_diverged_trial_fails_alone(sweep: Sweep, tmp_path: Path) -> None:
    sweep(
        *("model.optimizer.lr=choice(0.01,1e30)", "hydra/sweeper/sampler=grid"),
        *("hydra.sweeper.params=null", "hydra.sweeper.max_failure_rate=0.5"),
    )
    good, bad = sorted(trials(tmp_path), key=lambda trial: float(trial.params["model.optimizer.lr"]))
    assert good.state == TrialState.COMPLETE
    assert bad.state == TrialState.FAIL
    assert "ValueError: The loss must stay finite; found nan" in bad.user_attrs["reason"]
    assert run_of(bad).record["status"] == "failed"
    # The model that the sweep's config chooses is part of the experiment.
    shutil.copytree(ROOT / "configs", tmp_path / "project/configs")
    found = load_sweep("mlp", f"sqlite:///{tmp_path}/studies.db")
    path = export_trial(found, "found", project=tmp_path / "project")
    assert yaml.safe_load(path.read_text())["defaults"] == ["_self_", {"override /model": "mlp"}]


@pytest.mark.slow
def test_several_objectives_and_a_bound(sweep: Sweep, tmp_path: Path) -> None:
    sweep(
        *(
            "objective.returns=[best.score,training.n_parameters]",
            "hydra.sweeper.direction=[maximize,minimize]",
        ),
        *("hydra.sweeper.constraints=['training.n_parameters<=200000']", "hydra.sweeper.n_trials=4"),
    )
    study = optuna.load_study(study_name="mlp", storage=f"sqlite:///{tmp_path}/studies.db")
    assert study.user_attrs["monitor"] == ["best.score", "training.n_parameters"]
    for trial in study.trials:
        record = run_of(trial).record
        assert trial.values == [record["best"]["score"], record["training"]["n_parameters"]]
        assert trial.constraints == {"training.n_parameters": record["training"]["n_parameters"] - 200_000}
        assert not trial.intermediate_values


@pytest.mark.slow
@pytest.mark.parametrize(("number", "n_jobs"), [(signal.SIGTERM, 2), (signal.SIGINT, 1), (signal.SIGKILL, 1)])
def test_a_trial_whose_run_has_finished_is_complete_however_the_sweep_ends(
    command: Command, sweep: Sweep, tmp_path: Path, number: signal.Signals, n_jobs: int
) -> None:
    options = [f"hydra.sweeper.n_jobs={n_jobs}", "hydra.sweeper.n_trials=8"]
    bound = "hydra.sweeper.constraints=['training.n_parameters<=1']"

    def finished() -> set[int]:
        records = [json.loads(path.read_text()) for path in (tmp_path / "sweep").glob("*/run.json")]
        return {record["trial"]["number"] for record in records if record["status"] == "finished"}

    with (tmp_path / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            command(*options, bound),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    while len(finished()) < 2:
        assert process.poll() is None
        time.sleep(0.002)
    # At this moment the study has not heard of it.
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.wait(60)
    assert "Traceback" not in (tmp_path / "errors.txt").read_text()
    expected = finished()
    found = load_sweep("mlp", f"sqlite:///{tmp_path}/studies.db")
    assert {trial.number for trial in found.trials if state_of(trial) == "complete"} == expected
    for trial in found.trials:
        if trial.number in expected:
            assert trial.values == [run_of(trial).record["best"]["score"]]
    # A command that does what is left of the sweep trains none of them again.
    sweep(f"hydra.sweeper.n_jobs={n_jobs}", f"hydra.sweeper.n_trials={len(expected)}", bound)
    complete = [trial for trial in trials(tmp_path) if trial.state == TrialState.COMPLETE]
    assert {trial.number for trial in complete} == expected
    assert all(trial.constraints["training.n_parameters"] > 0 for trial in complete)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.sweeper.direction=minimize", "must be that of objective.mode=max; got minimize: set"),
        ("trainer=ddp_sim", "must train in one process; got 2: set trainer.devices=1"),
        ("hydra.sweeper.storage=sqlite:////proc/a/b.db", "database that can be opened"),
        ("hydra.sweeper.constraints=[best.score]", "must be bounds such as .*; got 'best.score'"),
        ("objective.returns=[best.scores]", "must name numbers of run.json; found best.scores"),
    ],
)
def test_what_would_be_silently_wrong_is_refused(sweep: Sweep, override: str, message: str) -> None:
    done = sweep(override, "hydra.sweeper.max_failure_rate=0", check=False)
    assert done.returncode == 1
    assert re.search(message, done.stdout + done.stderr, re.DOTALL)
    assert "Traceback" not in done.stderr
