"""Our sweeper: like the stock plugin where that one works, and right where it does not."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from canopy.sweep.claim import TrialQueue

APP = Path(__file__).parent / "app.py"
SPACE = ("x=interval(-5.5,5.5)", "y=interval(-5.5,5.5)")
# Trials that two commands share: SHARED_TRIALS=200 make test-all ARGS="-k two_commands" for a harder test.
N_SHARED = int(os.environ.get("SHARED_TRIALS", "60"))
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


def command(folder: Path, *overrides: str) -> list[str]:
    return [sys.executable, str(APP), "-m", f"hydra.sweep.dir={folder}/sweep", *overrides]


def run(folder: Path, *overrides: str, check: bool = True, **environment: str) -> str:
    done = subprocess.run(
        command(folder, *overrides),
        cwd=APP.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def results(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((folder / "sweep/optimization_results.yaml").read_text())
    return content


def stored(folder: Path, name: str = "s") -> list[str]:
    return [f"hydra.sweeper.storage=sqlite:///{folder}/studies.db", f"hydra.sweeper.study_name={name}"]


def trials(folder: Path, name: str = "s") -> list[FrozenTrial]:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/studies.db").trials


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("x=interval(-5.5,5.5)", "y=choice(-5,0,5)", "hydra.sweeper.sampler.seed=123"),
        (
            "x=range(-5,6)",
            "y=tag(log,interval(1,5))",
            "hydra/sweeper/sampler=random",
            "hydra.sweeper.sampler.seed=1",
        ),
        (
            *("x=interval(0,5)", "y=interval(0,3)", "returns=two", "hydra.sweeper.sampler.seed=123"),
            "hydra.sweeper.direction=[minimize,minimize]",
        ),
        (
            *(*SPACE, "hydra.sweeper.custom_search_space=__main__.extend"),
            "hydra.sweeper.sampler.seed=0",
        ),
        ("x=choice(-1,0,1)", "y=range(-1,2)", "hydra/sweeper/sampler=grid"),
        ("x=choice(-1,0,1)", "y=2", "hydra/sweeper/sampler=grid", "hydra.sweeper.direction=maximize"),
    ],
    ids=["tpe", "random", "several objectives", "custom search space", "grid", "grid, maximize"],
)
def test_the_results_are_those_of_the_stock_plugin(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    found = {}
    for name, environment in (("stock", {"STOCK": "1"}), ("ours", {})):
        run(tmp_path / name, *overrides, "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=12", **environment)
        found[name] = results(tmp_path / name)
    assert found["ours"] == found["stock"]


@pytest.mark.slow
def test_a_sweep_killed_five_times_does_each_trial_once(tmp_path: Path) -> None:
    overrides = [
        *SPACE,
        *stored(tmp_path),
        "hydra.sweeper.n_trials=20",
        "hydra.sweeper.n_jobs=2",
        "sleep=0.3",
    ]
    overrides.append("hydra.sweeper.sampler.seed=5")
    generator = random.Random(0)
    for kill in range(5):
        n_before = n_done(tmp_path)
        process = subprocess.Popen(
            command(tmp_path, *overrides),
            cwd=APP.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while n_done(tmp_path) <= n_before:
            assert process.poll() is None, "the sweep must be long enough"
            time.sleep(0.02)
        time.sleep(generator.uniform(0, 0.3))
        if kill % 2:
            os.kill(process.pid, signal.SIGKILL)  # the workers notice by themselves
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run(tmp_path, *overrides)
    everything = trials(tmp_path)
    finished = [trial for trial in everything if trial.state in DONE]
    assert len(finished) == 20
    assert {trial.state for trial in everything} <= {*DONE, TrialState.FAIL}
    assert all(trial.user_attrs["killed"] for trial in everything if trial.state == TrialState.FAIL)
    assert len({tuple(trial.params.values()) for trial in finished}) == 20
    folders = [trial.user_attrs["run"] for trial in finished]
    assert len(set(folders)) == 20
    assert [Path(folder).name for folder in folders] == [str(trial.number) for trial in finished]
    assert "0 of 20 trials left, nothing to do" in run(tmp_path, *overrides)
    assert len(trials(tmp_path)) == len(everything)


def test_a_trial_that_another_machine_took_for_dead_is_left_to_it(tmp_path: Path) -> None:
    options = ["hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1", "sleep=1"]
    process = subprocess.Popen(
        command(tmp_path, *SPACE, *stored(tmp_path), *options),
        cwd=APP.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not n_with_a_point(tmp_path):
        assert process.poll() is None, "the trial must be long enough"
        time.sleep(0.02)
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/studies.db")
    claims = TrialQueue(study, n_trials=1, max_retries=1, lock=tmp_path / "other.lock", shared=True)
    assert claims.fail_and_queue(study.trials[0])
    output, _ = process.communicate()
    assert process.returncode == 0
    assert "Another machine found the heartbeat of trial 0 expired" in output
    taken, again = trials(tmp_path)
    assert (taken.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert taken.params == again.params


def n_with_a_point(folder: Path) -> int:
    path = folder / "studies.db"
    if not path.is_file():
        return 0
    with closing(sqlite3.connect(path)) as database:
        try:
            return len(database.execute("select 1 from trial_params where param_name = 'y'").fetchall())
        except sqlite3.OperationalError:  # the file is there before its tables are
            return 0


def n_done(folder: Path) -> int:
    path = folder / "studies.db"
    if not path.is_file():
        return 0
    with closing(sqlite3.connect(path)) as database:
        try:
            states = database.execute("select state from trials").fetchall()
        except sqlite3.OperationalError:  # the file is there before its tables are
            return 0
    return sum(state in {done.name for done in DONE} for (state,) in states)


@pytest.mark.slow
def test_two_commands_on_one_study_share_its_trials(tmp_path: Path) -> None:
    overrides = [*SPACE, *stored(tmp_path), f"hydra.sweeper.n_trials={N_SHARED}", "hydra.sweeper.n_jobs=1"]
    run(tmp_path, *SPACE, *stored(tmp_path), "hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1")
    processes = [
        subprocess.Popen(
            # The same seed, and still no point twice.
            command(tmp_path, *overrides, "hydra.sweeper.sampler.seed=0"),
            cwd=APP.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert not any("locked" in output for output in outputs)
    everything = trials(tmp_path)
    assert [trial.state for trial in everything] == [TrialState.COMPLETE] * N_SHARED
    assert len({tuple(trial.params.values()) for trial in everything}) == N_SHARED
    workers = {trial.user_attrs["worker"]["pid"] for trial in everything[1:]}
    assert len(workers) == 2


def test_a_failing_trial_leaves_its_reason(tmp_path: Path) -> None:
    overrides = [*stored(tmp_path), "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=6"]
    grid = ["fails=choice(true,false)", "x=range(0,3)", "hydra/sweeper/sampler=grid"]
    output = run(tmp_path, *overrides, *grid, "hydra.sweeper.max_failure_rate=0.5")
    states = [trial.state for trial in trials(tmp_path)]
    assert states.count(TrialState.FAIL) == states.count(TrialState.COMPLETE) == 3
    reasons = {trial.user_attrs.get("reason") for trial in trials(tmp_path)}
    assert reasons == {None, "RuntimeError: as asked for"}
    assert "3 complete, 3 fail" in output


@pytest.mark.slow
def test_too_many_failures_end_the_sweep(tmp_path: Path) -> None:
    overrides = [*SPACE, *stored(tmp_path), "fails=true", "hydra.sweeper.n_trials=10"]
    for n_jobs in (1, 2):
        output = run(
            tmp_path,
            *(*overrides, f"hydra.sweeper.n_jobs={n_jobs}", "hydra.sweeper.max_failure_rate=0.1"),
            check=False,
        )
        assert "At most 1 of 10 trials may fail (hydra.sweeper.max_failure_rate=0.1); found 2" in output


@pytest.mark.slow
def test_workers_that_die_one_after_the_other_end_the_sweep(tmp_path: Path) -> None:
    found = run(tmp_path, *SPACE, *stored(tmp_path), "dies=true", "hydra.sweeper.n_jobs=2", check=False)
    assert "Workers must live; found 6 that died one after the other" in found
    assert "exit code -9" in found
    assert len(trials(tmp_path)) < 20


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_stopped_sweep_says_how_to_go_on(tmp_path: Path, n_jobs: int, number: signal.Signals) -> None:
    overrides = (*SPACE, *stored(tmp_path), f"hydra.sweeper.n_jobs={n_jobs}", "hydra.sweeper.n_trials=8")
    with subprocess.Popen(
        command(tmp_path, *overrides, "sleep=1"),
        cwd=APP.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        while not n_done(tmp_path):
            assert process.poll() is None, "the sweep must be long enough"
            time.sleep(0.02)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert "The sweep was stopped; the same command does the remaining trials" in output
    run(tmp_path, *overrides)
    assert sum(trial.state in DONE for trial in trials(tmp_path)) == 8


def test_a_sweep_killed_during_its_last_trial_does_that_again(tmp_path: Path) -> None:
    overrides = (*SPACE, *stored(tmp_path), "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=1")
    process = subprocess.Popen(command(tmp_path, *overrides, "sleep=60"), cwd=APP.parent)
    while not n_with_a_point(tmp_path):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert "1 of 1 trials left" in run(tmp_path, *overrides)
    killed, again = trials(tmp_path)
    assert (killed.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert killed.params == again.params


@pytest.mark.slow
def test_failures_in_all_workers_count(tmp_path: Path) -> None:
    options = ("hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=10", "hydra.sweeper.max_failure_rate=0.1")
    output = run(tmp_path, *SPACE, *stored(tmp_path), *options, "fails=true", "sleep=2", check=False)
    assert "At most 1 of 10 trials may fail (hydra.sweeper.max_failure_rate=0.1); found 2" in output
    assert sum(trial.state == TrialState.FAIL for trial in trials(tmp_path)) == 2


@pytest.mark.slow
def test_a_study_that_is_deleted_ends_the_sweep(tmp_path: Path) -> None:
    overrides = (*SPACE, *stored(tmp_path), "sleep=0.5", "hydra.sweeper.n_jobs=2")
    with subprocess.Popen(
        command(tmp_path, *overrides), cwd=APP.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while not n_done(tmp_path):
            assert process.poll() is None, "the sweep must be long enough"
            time.sleep(0.02)
        optuna.delete_study(study_name="s", storage=f"sqlite:///{tmp_path}/studies.db")
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Study s must stay in its storage while it is worked on; found it deleted" in errors.decode()


def test_a_value_that_is_no_number_fails_the_trial(tmp_path: Path) -> None:
    options = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=2", "hydra.sweeper.max_failure_rate=1"]
    run(tmp_path, *SPACE, *stored(tmp_path), *options, "returns=invalid")
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.FAIL] * 2
    assert "must return a finite number; found [nan]" in trials(tmp_path)[0].user_attrs["reason"]


def test_time_ends_a_sweep(tmp_path: Path) -> None:
    options = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=1000", "hydra.sweeper.timeout=1"]
    output = run(tmp_path, *SPACE, *stored(tmp_path), *options, "sleep=0.2")
    assert "The time of the sweep is over" in output
    assert 1 <= len(trials(tmp_path)) <= 5


@pytest.mark.slow
def test_known_points_come_first_and_other_studies_are_known(tmp_path: Path) -> None:
    options = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=3", "hydra.sweeper.sampler.seed=0"]
    run(tmp_path, *SPACE, *stored(tmp_path, "earlier"), *options)
    run(
        tmp_path,
        *(*SPACE, *stored(tmp_path, "later"), *options),
        *("hydra.sweeper.warm_start=[{x:1.5,y:-2}]", "hydra.sweeper.warm_start_studies=[earlier]"),
    )
    later = trials(tmp_path, "later")
    assert [trial.user_attrs.get("from_study") for trial in later] == ["earlier"] * 3 + [None] * 3
    assert later[3].params == {"x": 1.5, "y": -2}
    run(tmp_path, *SPACE, *stored(tmp_path, "later"), *options)
    assert len(trials(tmp_path, "later")) == 6


def test_commands_that_start_together_try_known_points_once(tmp_path: Path) -> None:
    options = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=4", "x=choice([1],[2])", "y=interval(0,9)"]
    options += ["hydra.sweeper.warm_start=[{x:[1],y:1},{x:[2],y:2}]", "returns=zero"]
    processes = [
        subprocess.Popen(command(tmp_path, *options, *stored(tmp_path)), cwd=APP.parent) for _ in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    points = [tuple(trial.params.values()) for trial in trials(tmp_path)]
    assert len(points) == 4
    assert points[:2] == [("[1]", 1), ("[2]", 2)]
    assert len(set(points)) == 4


@pytest.mark.slow
def test_a_key_is_swept_where_its_condition_holds(tmp_path: Path) -> None:
    run(
        tmp_path,
        *(*stored(tmp_path), "x=choice(1,2,3)", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=20"),
        "+hydra.sweeper.conditional_params={x:{2:{y:'range(5,8)'},3:{y:4,z:'interval(0,1)'}},y:{7:{z:0.5}}}",
    )
    assert {trial.params["x"] for trial in trials(tmp_path)} == {1, 2, 3}
    for trial in trials(tmp_path):
        x = trial.params["x"]
        assert trial.params.keys() - {"x"} == {1: set(), 2: {"y"}, 3: {"z"}}[x]
        y = {1: 0, 3: 4}.get(x, trial.params.get("y"))
        z = 0.5 if y == 7 else trial.params.get("z", 0)
        assert trial.value == x**2 + y**2 + z


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "+hydra.sweeper.conditional_params={z:{1:{w:2}}}",
            "must have keys that are swept or given before; found z, and before it x, y",
        ),
        ("hydra.sweeper.warm_start=[{z:1}]", "must have swept keys, x, y; found z"),
        ("hydra.sweeper.warm_start=[{x:1},{y:6}]", "warm_start must be within y=FloatDistribution"),
        ("hydra.sweeper.n_jobs=0", "hydra.sweeper.n_jobs must be at least 1; found 0"),
        ("hydra.sweeper.max_failure_rate=2", "must be from 0 to 1; found 2"),
        ("hydra.sweeper.storage=mongo://a", "must be the URL of a database that can be opened"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, override: str, message: str) -> None:
    assert message in run(tmp_path, *SPACE, override, check=False)


def test_other_directions_are_refused(tmp_path: Path) -> None:
    options = [*SPACE, *stored(tmp_path), "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=1"]
    run(tmp_path, *options)
    output = run(tmp_path, *options, "hydra.sweeper.direction=maximize", check=False)
    assert "must have the sweep's directions ('maximize',); found ('minimize',)" in output


def test_quoted_choices_reach_the_job_as_texts(tmp_path: Path) -> None:
    """Optuna holds them without their quotes."""
    choices = ("1e5", "x,y", "on", "true", "a b", "it's", "${z}")
    written = ",".join(f'"{text}"' for text in choices).replace("$", "\\$")
    options = ["hydra.sweeper.n_jobs=1", "hydra/sweeper/sampler=grid", f"returns=choice({written},2)"]
    run(tmp_path, *options, "hydra.output_subdir=.hydra")
    configs = [OmegaConf.load(path) for path in (tmp_path / "sweep").glob("*/.hydra/config.yaml")]
    assert sorted((config.returns for config in configs), key=str) == sorted([*choices, 2], key=str)
