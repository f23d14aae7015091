import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canopy.compare.columns import order
from canopy.compare.conditions import Condition
from canopy.compare.listing import list_runs, summarize_runs
from canopy.runs.keys import near_matches
from canopy.runs.listed import find_runs

Make = Callable[..., Any]


def shown(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()[1:]]


@pytest.fixture
def three_runs(make_run: Make) -> None:
    """Run a with lr 0.01, then b with lr 0.1, then c with lr 0.001 and without a score."""
    make_run("a", lr=0.01, seed=1, score=0.75)
    make_run("b", lr=0.1, seed=2, score=0.8125)
    make_run("c", lr=0.001, seed=3, status="failed", best={}, training={})


@pytest.mark.usefixtures("three_runs")
def test_the_table_is_exactly_this(logs: Path, evaluate: Make) -> None:
    evaluate(logs / "train/runs/a", np.array([0, 1, 2, 0]), np.array([0, 1, 2, 1]))
    assert list_runs(find_runs([], logs=logs)).splitlines() == [
        "name  status    started (UTC)     overrides  epochs  seconds    best  test.accuracy",
        "c     failed    2026-01-31 12:00  seed=3          -        -       -              -",
        "b     finished  2026-01-31 12:00  seed=2          3     12.5  0.8125              -",
        "a     finished  2026-01-31 12:00  seed=1          3     12.5  0.7500           0.75",
    ]


@pytest.mark.usefixtures("three_runs")
def test_columns_of_any_kind(logs: Path) -> None:
    columns = ["model.optimizer.lr", "machine.n_threads", "model.net.hidden"]
    text = list_runs(find_runs([], logs=logs), columns=columns, sort="model.optimizer.lr")
    assert text.splitlines() == [
        "name  status    model.optimizer.lr  machine.n_threads  model.net.hidden",
        "c     failed                 0.001                  2  [8, 8]",
        "a     finished               0.010                  2  [8, 8]",
        "b     finished               0.100                  2  [8, 8]",
    ]


def test_small_rates_are_shown_beside_large_ones(logs: Path, make_run: Make) -> None:
    for name, lr in (("a", 250.5), ("b", 0.0123), ("c", 2.3e-6)):
        make_run(name, lr=lr)
    runs = find_runs([], logs=logs)
    rates = [line.split()[-1] for line in list_runs(runs, columns=["model.optimizer.lr"]).splitlines()[1:]]
    assert rates == ["2.3e-06", "0.0123", "250.5"]
    (line,) = summarize_runs(runs[:1], columns=["model.optimizer.lr"]).splitlines()[-1:]
    assert line.split()[:3] == ["1", "model.optimizer.lr", "0.00000230"]


@pytest.mark.usefixtures("three_runs")
@pytest.mark.parametrize(
    ("sort", "expected"),
    [("best", "abc"), ("-best", "bac"), ("seed", "abc"), ("-name", "cba"), (None, "cba")],
)
def test_runs_without_the_value_come_last(logs: Path, sort: str | None, expected: str) -> None:
    assert shown(list_runs(find_runs([], logs=logs), sort=sort)) == list(expected)


@pytest.mark.usefixtures("three_runs")
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["seed=2"], "b"),
        (["seed!=2"], "ca"),
        (["seed>=2"], "cb"),
        (["seed<2"], "a"),
        (["model.optimizer.lr<=1e-2"], "ca"),
        (["best>0.7", "status=finished"], "ba"),
        (["best!=0.75"], "cb"),
        (["overrides=seed=1"], "a"),
        (["model.net.hidden=[8,8]"], "cba"),
        (["git.dirty=false", "data.seed=3"], "c"),
        (["started>2026-02"], ""),
    ],
)
def test_conditions(logs: Path, where: list[str], expected: str) -> None:
    found = json.loads(list_runs(find_runs([], logs=logs), where=where, form="json"))
    assert [run["name"] for run in found] == list(expected)


@pytest.mark.parametrize("text", ["seed", "=3", "", ">"])
def test_a_condition_without_key_or_operator_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="A condition must be key=value"):
        Condition.parse(text)


def test_numbers_are_ordered_against_numbers_only() -> None:
    with pytest.raises(ValueError, match="seed must be compared with a number, as it is 3; found 'x'"):
        Condition.parse("seed<x").holds(3)


@pytest.mark.usefixtures("three_runs")
def test_json_and_csv_hold_all_digits(logs: Path, make_run: Make) -> None:
    make_run("d", score=0.1234567890123)
    runs = find_runs([], logs=logs)
    columns = ["best", "model.net.hidden"]
    first = json.loads(list_runs(runs, columns=columns, form="json"))[0]
    assert first == {
        "name": "d",
        "status": "finished",
        "best": 0.1234567890123,
        "model.net.hidden": [8, 8],
    }
    rows = list(csv.reader(list_runs(runs, columns=columns, form="csv").splitlines()))
    assert rows[:2] == [["name", "status", *columns], ["d", "finished", "0.1234567890123", "[8, 8]"]]
    assert rows[2][2] == ""


@pytest.mark.usefixtures("three_runs")
@pytest.mark.parametrize("option", ["columns", "where", "sort"])
def test_an_unknown_key_names_near_ones(logs: Path, option: str) -> None:
    asked = {"columns": ["model.lr"], "where": ["model.lr=1"], "sort": "-model.lr"}[option]
    with pytest.raises(ValueError, match="found 'model.lr'; did you mean model.optimizer.lr"):
        list_runs(find_runs([], logs=logs), **{option: asked})


@pytest.mark.usefixtures("three_runs")
def test_scores_of_runs_that_are_not_evaluated_name_the_command(logs: Path) -> None:
    with pytest.raises(ValueError, match="none of the runs is evaluated: .*src/evaluate.py"):
        list_runs(find_runs([], logs=logs), columns=["test.macro_f1"])


def test_near_matches_of_a_misspelling() -> None:
    assert near_matches("model.optimiser.lr", ["model.optimizer.lr", "seed"]) == ["model.optimizer.lr"]
    assert near_matches("xyz", ["seed"]) == []


def test_nothing_to_list_is_said(logs: Path, make_run: Make) -> None:
    assert list_runs([]) == "Nothing to list: there are no runs yet"
    assert list_runs([], form="json") == "[]"
    make_run("a")
    text = list_runs(find_runs([], logs=logs), where=["seed=9", "best>0"])
    assert text == "Nothing to list: none of 1 runs meets seed=9 and best>0"


def test_a_long_list_fits_the_terminal_and_a_name_stays_whole(logs: Path, make_run: Make) -> None:
    make_run("n" * 45, commands=[{"overrides": [f"model.net.hidden={'8' * 300}"]}])
    lines = list_runs(find_runs([], logs=logs)).splitlines()
    assert all(len(line) <= 120 for line in lines)
    assert lines[1].startswith("n" * 45 + "  finished")
    assert "  hidden=88..." in lines[1]
    columns = ["model.scheduler.max_lr", "model.optimizer.lr", "machine.n_threads", "training.n_parameters"]
    header, _ = list_runs(find_runs([], logs=logs), columns=columns).splitlines()
    assert len(header) <= 120
    assert "...uler.max_lr" in header


def test_what_a_terminal_would_obey_is_not_printed(logs: Path, make_run: Make) -> None:
    make_run("a", commands=[{"overrides": ["x=\x1b[2J\n\ty"]}])
    assert "x=?[2J y" in list_runs(find_runs([], logs=logs))


def test_values_of_all_types_have_an_order() -> None:
    assert min([[1], True, float("nan"), "a", None, -1.5], key=order) is None
