"""Which trials are retried when machines or workers die, or a heartbeat only expires."""

import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from filelock import FileLock
from optuna.trial import TrialState

from canopy.sweep import sweep
from canopy.sweep.queue import HEARTBEAT_TIMEOUT_SECONDS, TrialQueue

GRID = {"x": [0.0, 1.0], "y": [0, 1]}


def queue_of(folder: Path, *, sampler: Any = None, n_trials: int = 2, max_retries: int = 1) -> TrialQueue:
    study, lock = optuna.create_study(sampler=sampler), FileLock(folder / "queue.lock")
    return TrialQueue(study=study, n_trials=n_trials, max_retries=max_retries, lock=lock, shared=True)


def start_elsewhere(queue: TrialQueue, *, since_timeout: float = 1) -> optuna.Trial:
    """Reserve the next trial on another machine, whose heartbeat expired so many seconds ago."""
    trial = queue.reserve()
    assert trial is not None
    trial.set_user_attr("worker", {**trial.user_attrs["worker"], "host": "another"})
    trial.set_user_attr("alive", trial.user_attrs["alive"] - HEARTBEAT_TIMEOUT_SECONDS - since_timeout)
    return trial


def test_trial_with_expired_heartbeat_is_retried_as_often_as_allowed(tmp_path: Path) -> None:
    queue = queue_of(tmp_path, max_retries=2)
    alive = start_elsewhere(queue, since_timeout=-60)
    queue.recover()
    assert queue.n_left() == 1
    # Another machine, which took it for dead, does not keep it from its end.
    alive.set_user_attr("killed", value=True)
    assert queue.n_left() == 2
    queue.study.tell(alive, 0.5)
    assert queue.n_left() == 1
    queue.n_trials += 1
    points = []
    for number in range(1, 5):
        points.append(start_elsewhere(queue).suggest_float("x", 0, 1))
        queue.recover()
        assert queue.study.trials[number].state == TrialState.FAIL
        assert queue.n_left() == 2
    # The first, twice again, and a new one.
    assert points[0] == points[1] == points[2] != points[3]


@pytest.mark.parametrize(("n_deaths", "n_done"), [(1, 4), (2, 4), (3, 3)])
def test_grid_point_is_retried_though_it_was_never_drawn(tmp_path: Path, n_deaths: int, n_done: int) -> None:
    sampler = optuna.samplers.GridSampler(GRID, seed=0)
    queue = queue_of(tmp_path, sampler=sampler, n_trials=4, max_retries=2)
    for _ in range(n_deaths):
        start_elsewhere(queue)
    done = []
    while (trial := queue.reserve()) is not None:
        done.append(tuple(trial.suggest_categorical(key, values) for key, values in GRID.items()))
        queue.study.tell(trial, 0.0)
    assert len(done) == len({*done}) == n_done


def test_known_point_is_retried_though_it_was_never_drawn(tmp_path: Path) -> None:
    queue = queue_of(tmp_path)
    queue.study.enqueue_trial({"x": 1.5, "y": 2})
    start_elsewhere(queue).suggest_int("y", 0, 3)
    again = queue.reserve()
    assert again is not None
    assert (again.suggest_float("x", 0, 2), again.suggest_int("y", 0, 3)) == (1.5, 2)


def test_trial_whose_finder_died_before_it_was_queued_again_is_queued_once(tmp_path: Path) -> None:
    queue = queue_of(tmp_path, sampler=optuna.samplers.GridSampler(GRID))
    start_elsewhere(queue)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna.Study, "add_trial", lambda *_: None)
        queue.recover()
    for shared, n_trials in ((True, 1), (False, 2), (False, 2)):
        queue.shared = shared
        queue.recover()
        assert len(queue.study.trials) == n_trials


def test_trial_is_queued_once_when_two_machines_find_it_dead(tmp_path: Path) -> None:
    queue = queue_of(tmp_path)
    start_elsewhere(queue).suggest_float("x", 0, 1)
    (seen_by_the_other,) = queue.study.trials
    queue.recover()
    queue.fail_and_queue(seen_by_the_other)
    assert [trial.state for trial in queue.study.trials] == [TrialState.FAIL, TrialState.WAITING]


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        # Exit codes of a worker and its successors, each with the number of trials that are finished by then.
        ([(-9, 0), (-9, 0), (-9, 1), (-9, 1), (-9, 2), (0, 3)], None),
        ([(-9, 0), (-9, 1), (-9, 1), (-9, 1)], "must finish trials; got 3 that died without one"),
        ([(3, 5)], "error of a worker"),
    ],
)
def test_deaths_of_workers_count_until_a_trial_is_finished(
    monkeypatch: pytest.MonkeyPatch, ends: list[tuple[int, int]], message: str | None
) -> None:
    class Process(SimpleNamespace):
        def start(self) -> None:
            self.exitcode, n_finished = ends.pop(0)
            worker.study.get_trials = lambda **_: range(n_finished)

    worker: Any = SimpleNamespace(plan=None, deadline=0.0, first=0, is_first=True, study=SimpleNamespace())
    context = SimpleNamespace(Process=lambda **_: Process(is_alive=lambda: False))
    monkeypatch.setattr(sweep, "MAX_DEATHS", 2)
    # Numbers of threads, which the tests after this one would have.
    monkeypatch.setattr(os, "environ", {**os.environ})
    monkeypatch.setattr(sweep.multiprocessing, "get_context", lambda _: context)
    with pytest.raises(ValueError, match=message) if message else nullcontext():
        sweep.run_workers(worker, None, n_workers=1)
    assert not ends
