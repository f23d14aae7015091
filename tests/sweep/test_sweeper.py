"""Our sweeper: like the stock plugin where that one works, and right where it does not."""

import os
import random
import signal
import time
from pathlib import Path

import optuna
import pytest
import yaml
from filelock import FileLock
from omegaconf import OmegaConf
from optuna.trial import TrialState

from canopy.sweep.queue import TrialQueue
from canopy.sweep.storage import open_storage
from sweep_app import DRAWN, ENDED, SPACE, App, points


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("x=interval(-5.5,5.5)", "y=choice(-5,0,5)"),
        ("x=range(-5,6)", "y=tag(log,interval(1,5))", "hydra/sweeper/sampler=random"),
        ("x=interval(0,5)", "y=interval(0,3)", "returns=two", "hydra.sweeper.direction=[minimize,minimize]"),
        (*SPACE, "hydra.sweeper.custom_search_space=__main__.extend"),
        ("x=choice(-1,0,1)", "y=2", "hydra/sweeper/sampler=grid", "hydra.sweeper.direction=maximize"),
    ],
)
def test_results_are_those_of_stock_plugin(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    results = {}
    # Without storage and name of a study: the defaults.
    overrides += ("hydra.sweeper.storage=null", "hydra.sweeper.study_name=null")
    overrides += ("hydra.sweeper.n_trials=12", "hydra.sweeper.sampler.seed=123")
    for name, environment in (("stock", {"STOCK": "1"}), ("ours", {})):
        App(tmp_path / name).run(*overrides, **environment)
        results[name] = yaml.safe_load((tmp_path / name / "sweep/optimization_results.yaml").read_text())
    assert results["ours"] == results["stock"]


@pytest.mark.slow
def test_sweep_killed_five_times_does_each_trial_once(app: App) -> None:
    overrides = (*SPACE, "hydra.sweeper.n_trials=20", "hydra.sweeper.n_jobs=2", "sleep=0.3")
    overrides += ("hydra.sweeper.sampler.seed=5",)
    generator = random.Random(0)
    for kill in range(5):
        process = app.run_until(ENDED, *overrides)
        time.sleep(generator.uniform(0, 0.3))
        # Of the command alone, the workers notice by themselves.
        (os.kill if kill % 2 else os.killpg)(process.pid, signal.SIGKILL)
        process.communicate()
    # With another number of jobs.
    app.run(*overrides, "hydra.sweeper.n_jobs=1")
    trials, finished = app.trials(), app.finished()
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    assert all(trial.user_attrs["killed"] for trial in trials if trial.state == TrialState.FAIL)
    assert len(finished) == len(set(points(finished))) == 20
    assert all(Path(trial.user_attrs["run"]).name == str(trial.number) for trial in finished)
    assert "0 of 20 trials left" in app.run(*overrides)
    assert len(app.trials()) == len(trials)


def test_trial_whose_heartbeat_expired_elsewhere_is_left_to_the_other_machine(app: App) -> None:
    process = app.run_until(DRAWN, *SPACE, "hydra.sweeper.n_trials=1", "sleep=1")
    study = optuna.load_study(study_name="s", storage=app.url)
    lock = FileLock(app.folder / "other.lock")
    other = TrialQueue(study=study, n_trials=1, max_retries=1, lock=lock, shared=True)
    other.fail_and_queue(study.trials[0])
    (output,) = app.outputs(process)
    assert "Another machine retries trial 0" in output
    expired, again = app.trials()
    assert (expired.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert expired.params == again.params


@pytest.mark.slow
def test_two_commands_on_one_study_share_its_trials(app: App) -> None:
    app.run(*SPACE, "hydra.sweeper.n_trials=1")
    # The same seed, and still no point twice.
    overrides = (*SPACE, "hydra.sweeper.n_trials=60", "hydra.sweeper.sampler.seed=0")
    outputs = app.outputs(*(app.start(*overrides) for _ in range(2)))
    assert not any("locked" in output for output in outputs)
    trials = app.trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 60
    assert len(set(points(trials))) == 60
    assert len({trial.user_attrs["worker"]["pid"] for trial in trials[1:]}) == 2


def test_each_failing_trial_of_a_batch_leaves_its_reason(app: App) -> None:
    grid = ("fails=choice(true,false)", "returns=choice(one,invalid)", "hydra/sweeper/sampler=grid")
    batch = ("hydra/launcher=joblib", "hydra.sweeper.n_jobs=4", "hydra.sweeper.n_trials=4")
    output = app.run(*grid, *batch, "hydra.sweeper.max_failure_rate=0.5", check=False)
    assert "At most 2 of 4 trials may fail" in output
    reasons = sorted(trial.user_attrs.get("reason", "") for trial in app.trials())
    assert reasons[:3] == ["", *["RuntimeError: as asked for"] * 2]
    assert "must return a finite number for each" in reasons[3]
    assert sorted(trial.state.name for trial in app.trials()) == ["COMPLETE", "FAIL", "FAIL", "FAIL"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("fails=true",), "At most 1 of 10 trials may fail (max_failure_rate); got 2"),
        # Those of all workers count, though none has as many.
        (("fails=true", "sleep=2", "hydra.sweeper.n_jobs=2"), "At most 1 of 10 trials may fail"),
        (("dies=true", "hydra.sweeper.n_jobs=2"), "got 11 that died without one, the last with exit code -9"),
    ],
)
def test_too_many_failures_end_the_sweep(app: App, overrides: tuple[str, ...], message: str) -> None:
    limits = ("hydra.sweeper.n_trials=10", "hydra.sweeper.max_failure_rate=0.1")
    assert message in app.run(*SPACE, *overrides, *limits, check=False)
    failed = [trial for trial in app.trials() if trial.state == TrialState.FAIL and trial.params]
    assert len(failed) == 2 or "dies=true" in overrides


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_stopped_sweep_gives_resume_hint(app: App, n_jobs: int, number: signal.Signals) -> None:
    overrides = (*SPACE, f"hydra.sweeper.n_jobs={n_jobs}", "hydra.sweeper.n_trials=8")
    process = app.run_until(ENDED, *overrides, "sleep=1")
    process.send_signal(number)
    (output,) = app.outputs(process, check=False)
    assert process.returncode not in (0, None)
    assert "The sweep was stopped; the same command does the remaining trials" in output
    app.run(*overrides)
    assert len(app.finished()) == 8


def test_sweep_killed_during_its_last_trial_does_that_again(app: App) -> None:
    overrides = (*SPACE, "hydra.sweeper.n_trials=1")
    process = app.run_until(DRAWN, *overrides, "sleep=60")
    process.kill()
    process.communicate()
    assert "1 of 1 trials left" in app.run(*overrides)
    killed, again = app.trials()
    assert (killed.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert killed.params == again.params


def test_timeout_ends_the_sweep(app: App) -> None:
    output = app.run(*SPACE, "hydra.sweeper.n_trials=1000", "hydra.sweeper.timeout=1", "sleep=0.2")
    assert "The time of the sweep is over" in output
    assert 1 <= len(app.trials()) <= 5


def test_commands_that_start_together_try_known_points_once(app: App) -> None:
    space = ("x=choice([1],[2])", "y=interval(0,9)")
    app.run(*space, "hydra.sweeper.n_trials=2", "hydra.sweeper.study_name=earlier")
    space += ("hydra.sweeper.warm_start=[{x:[1],y:1},{x:[2],y:2}]",)
    space += ("hydra.sweeper.warm_start_studies=[earlier]", "hydra.sweeper.n_trials=4")
    app.outputs(*(app.start(*space) for _ in range(2)))
    trials = app.trials()
    assert [trial.user_attrs.get("from_study") for trial in trials] == ["earlier"] * 2 + [None] * 4
    assert len(set(points(trials))) == 6
    assert points(trials)[2:4] == [("[1]", 1), ("[2]", 2)]


@pytest.mark.slow
def test_key_is_swept_where_its_condition_holds(app: App) -> None:
    app.run(
        *("x=choice(1,2,3)", "hydra.sweeper.n_trials=20"),
        "+hydra.sweeper.conditional_params={x:{2:{y:'range(5,8)'},3:{y:4,z:'interval(0,1)'}},y:{7:{z:0.5}}}",
    )
    assert {trial.params["x"] for trial in app.trials()} == {1, 2, 3}
    for trial in app.trials():
        x = trial.params["x"]
        assert trial.params.keys() - {"x"} == {1: set(), 2: {"y"}, 3: {"z"}}[x]
        y = {1: 0, 3: 4}.get(x, trial.params.get("y"))
        z = 0.5 if y == 7 else trial.params.get("z", 0)
        assert trial.value == x**2 + y**2 + z


def test_study_of_another_sweep_is_refused(app: App) -> None:
    app.run("x=choice(1,2)", "hydra.sweeper.n_trials=1")
    output = app.run("x=choice(1,2)", "hydra.sweeper.direction=maximize", check=False)
    assert "directions ['maximize']; got ['minimize']" in output
    assert "must keep the kind and the choices of x, " in app.run("x=choice(1,2,3)", check=False)
    assert len(app.trials()) == 1


def test_quoted_choices_reach_the_job_as_texts(app: App) -> None:
    """Optuna holds them without their quotes."""
    choices = ("1e5", "x,y", "on", "true", "a b", "it's", "${z}")
    written = ",".join(f'"{text}"' for text in choices).replace("$", "\\$")
    app.run("hydra/sweeper/sampler=grid", f"returns=choice({written},2)", "hydra.output_subdir=.hydra")
    configs = [OmegaConf.load(path) for path in (app.folder / "sweep").glob("*/.hydra/config.yaml")]
    assert sorted((config.returns for config in configs), key=str) == sorted([*choices, 2], key=str)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "start_of_a_batch"),
    [("joblib", "Joblib.Parallel"), ("submitit_local", "Submitit 'local' sweep")],
)
def test_launcher_does_each_trial_once(app: App, launcher: str, start_of_a_batch: str) -> None:
    options = ("hydra.sweeper.n_trials=6", f"hydra/launcher={launcher}", "hydra.sweeper.n_jobs=2")
    # One that waits and one that is done: the first batch is not of consecutive numbers.
    study = optuna.create_study(study_name="s", storage=open_storage(app.url))
    study.enqueue_trial({"x": 1.0, "y": 2.0})
    study.add_trial(optuna.create_trial(value=0.0))
    study.set_user_attr("folder", str(app.folder / "sweep"))
    assert app.run(*SPACE, *options).count(start_of_a_batch) == 3
    assert [trial.state for trial in app.trials()] == [TrialState.COMPLETE] * 6
    first, _, *others = app.trials()
    assert first.params == {"x": 1.0, "y": 2.0}
    assert len({tuple(trial.params.values()) for trial in others}) == 4
    for trial in (first, *others):
        assert trial.value == sum(value**2 for value in trial.params.values())
        assert Path(trial.user_attrs["run"]) == app.folder / "sweep" / str(trial.number)
    assert "0 of 6 trials left" in app.run(*SPACE, *options)
