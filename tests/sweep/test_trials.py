import csv
import io
import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from canopy.sweep.loading import load_sweep, load_sweeps, state_of
from canopy.sweep.trials import list_sweeps, list_trials, summarize_sweep

Make = Callable[..., Any]


def test_trials_are_listed_the_best_first(mixed: str) -> None:
    table = list_trials(load_sweep("a", mixed))
    assert [line.split() for line in table.splitlines()] == [
        ["trial", "state", "val/accuracy", "epochs", "seconds", "lr", "dropout", "reason"],
        ["1", "complete", "0.750", "2", "10", "0.0100", "0.00"],
        ["0", "complete", "0.500", "2", "10", "0.0010", "0.10"],
        ["2", "pruned", "0.125", "1", "10", "0.0001", "0.50"],
        ["5", "running", "0.500", "1", "-", "0.0200", "0.00"],
        ["6", "waiting", "-", "-", "-", "-", "-"],
        ["3", "failed", "-", "-", "10", "0.1000", "0.25", "ValueError:", "no", "<b>loss</b>"],
    ]


def test_numbers_order_the_trials_and_surplus_ones_are_left_out(mixed: str) -> None:
    rows = json.loads(list_trials(load_sweep("a", mixed), order="number", form="json"))
    assert [row["number"] for row in rows] == [0, 1, 2, 3, 5, 6]
    assert rows[0] == {
        "number": 0,
        "state": "complete",
        "val/accuracy": 0.5,
        "epochs": 2,
        "seconds": 10.0,
        "model.optimizer.lr": 0.001,
        "model.net.dropout": 0.1,
        "run": "logs/x/0",
        "reason": None,
        "retry_of": None,
    }
    assert rows[-1]["retry_of"] == 3


def test_csv_has_the_same_rows(mixed: str) -> None:
    sweep = load_sweep("a", mixed)
    rows = list(csv.DictReader(io.StringIO(list_trials(sweep, form="csv"))))
    assert [row["number"] for row in rows] == ["1", "0", "2", "5", "6", "3"]
    assert list(rows[0]) == list(json.loads(list_trials(sweep, form="json"))[0])


def test_a_minimized_sweep_has_its_lowest_value_first(url: str, make_study: Make, add_trial: Make) -> None:
    study = make_study(url, directions=("minimize",), monitor=("val/nll",))
    for value in (0.5, 0.25, float("inf"), 0.75):
        add_trial(study, value)
    sweep = load_sweep("a", url)
    assert [trial.number for trial in sweep.ranked()] == [1, 0, 3, 2]
    assert json.loads(list_trials(sweep, form="json"))[-1]["val/nll"] is None
    assert summarize_sweep(sweep).splitlines()[:3] == [
        "Sweep a: minimizes val/nll",
        "4 trials: 4 complete",
        "Best val/nll 0.25, trial 1:",
    ]


def test_the_summary_gives_the_best_trial_and_the_command(mixed: str) -> None:
    assert summarize_sweep(load_sweep("a", mixed)).splitlines() == [
        "Sweep a: maximizes val/accuracy",
        "6 trials: 2 complete, 1 pruned, 1 running, 1 waiting, 1 failed",
        "Best val/accuracy 0.75, trial 1:",
        "  model.optimizer.lr=0.01",
        "  model.net.dropout=0",
        "Reproduce it: python src/train.py model.optimizer.lr=0.01 model.net.dropout=0.0",
    ]


def test_a_run_that_is_there_is_repeated_from_its_folder(mixed: str, tmp_path: Path, make_run: Make) -> None:
    make_run(tmp_path / "logs/x/1", "seed: 1", overrides=[])
    reported = summarize_sweep(load_sweep("a", mixed), project=tmp_path)
    assert reported.splitlines()[-1] == "Reproduce it: python src/train.py reproduce=logs/x/1"


def test_several_objectives_have_a_pareto_front(url: str, make_study: Make, add_trial: Make) -> None:
    study = make_study(
        url, directions=("maximize", "minimize"), monitor=("val/accuracy", "seconds per epoch")
    )
    for values in ((0.5, 2.0), (0.75, 3.0), (0.5, 3.0), (0.25, 1.0)):
        add_trial(study, values)
    sweep = load_sweep("a", url)
    assert [trial.number for trial in sweep.best] == [0, 1, 3]
    assert [trial.number for trial in sweep.ranked()] == [1, 0, 3, 2]
    assert summarize_sweep(sweep).splitlines()[-1] == "Pareto front: trial 0, trial 1, trial 3"


def test_a_trial_that_breaks_a_constraint_is_not_the_best(
    url: str, make_study: Make, add_trial: Make
) -> None:
    study = make_study(url)
    add_trial(study, 0.75, violations=(-1.0, 2.0))
    add_trial(study, 0.5, violations=(-1.0, 0.0))
    sweep = load_sweep("a", url)
    assert [trial.number for trial in sweep.best] == [1]
    assert list_trials(sweep).splitlines()[-1].split()[0] == "0"
    assert "breaks a constraint" in list_trials(sweep)


def test_a_sweep_without_trials_is_no_mistake(url: str, make_study: Make) -> None:
    make_study(url, monitor=None)
    sweep = load_sweep("a", url)
    assert list_trials(sweep) == "Nothing to list: there are no trials yet"
    assert list_trials(sweep, form="json") == "[]"
    assert list_trials(sweep, form="csv") == "number,state,value"
    assert summarize_sweep(sweep) == "Sweep a: maximizes value\n0 trials"


@pytest.mark.parametrize(("alive", "word"), [(True, "running"), (False, "killed")])
def test_a_trial_whose_process_is_gone_was_killed(
    url: str, make_study: Make, add_trial: Make, *, alive: bool, word: str
) -> None:
    gone = multiprocessing.get_context("spawn").Process(target=int)
    gone.start()
    gone.join()
    worker = {"host": socket.gethostname(), "pid": os.getpid() if alive else gone.pid}
    add_trial(make_study(url), state=TrialState.RUNNING, worker=worker)
    assert [state_of(trial) for trial in load_sweep("a", url).trials] == [word]


def test_a_trial_that_was_found_dead_was_killed(url: str, make_study: Make, add_trial: Make) -> None:
    add_trial(make_study(url), state=TrialState.FAIL, killed=True, reason="its process died")
    assert load_sweep("a", url).counts == {"killed": 1}


def test_sweeps_are_listed_with_counts_and_best(mixed: str, make_study: Make, add_trial: Make) -> None:
    study = make_study(mixed, "b", directions=("minimize", "minimize"), monitor=("x", "y"))
    add_trial(study, (1.0, 2.0))
    assert [line.split() for line in list_sweeps(load_sweeps(mixed)).splitlines()] == [
        [
            "sweep",
            "objective",
            "trials",
            "complete",
            "pruned",
            "running",
            "waiting",
            "failed",
            "best",
            "trial",
        ],
        ["a", "maximizes", "val/accuracy", "6", "2", "1", "1", "1", "1", "0.75", "1"],
        ["b", "minimizes", "x,", "minimizes", "y", "1", "1", "0", "0", "0", "0", "-", "-"],
    ]
    assert json.loads(list_sweeps(load_sweeps(mixed), form="json"))[0]["killed"] == 0


def test_to_read_makes_no_storage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must exist; got no file at .*/none\.db: name another"):
        load_sweeps(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_storage_is_named_by_a_url() -> None:
    with pytest.raises(ValueError, match="must be a URL such as sqlite:///logs/sweeps.db; got 'sweeps.db'"):
        load_sweeps("sweeps.db")


def test_a_misspelt_name_is_answered_with_a_near_one(mixed: str, make_study: Make) -> None:
    make_study(mixed, "learning-rate")
    with pytest.raises(ValueError, match="got 'learnin-rate': there is learning-rate"):
        load_sweep("learnin-rate", mixed)
    with pytest.raises(ValueError, match="got 'z': there is a, learning-rate"):
        load_sweep("z", mixed)
