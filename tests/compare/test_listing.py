import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canopy.compare.listing import list_runs
from canopy.runs.find import find_runs

Make = Callable[..., Any]
KEY = "A key must be one of a run's config, record or scores"


@pytest.fixture
def listed(make_run: Make, logs: Path, evaluate: Make) -> Make:
    """List run a with lr 0.01, then b with lr 0.1, then c with lr 0.001 and without a score."""
    run = make_run("a", lr=0.01, seed=1, score=0.75)
    evaluate(run, np.array([0, 1, 2, 0]), np.array([0, 1, 2, 1]))
    make_run("b", lr=0.1, seed=2, score=0.8125)
    make_run("c", lr=0.001, seed=3, status="failed", best={}, training={})
    return lambda **options: list_runs(find_runs([], logs=logs), **options)


def names(text: str) -> str:
    return "".join(row["name"] for row in json.loads(text))


def test_list_has_default_columns_or_those_of_any_kind(listed: Make) -> None:
    assert listed().splitlines() == [
        "name  status    started (UTC)     overrides  epochs  seconds    best  test.accuracy",
        "c     failed    2026-01-31 12:00  seed=3          -        -       -              -",
        "b     finished  2026-01-31 12:00  seed=2          3     12.5  0.8125              -",
        "a     finished  2026-01-31 12:00  seed=1          3     12.5  0.7500           0.75",
    ]
    columns = ["model.optimizer.lr", "machine.n_threads", "model.net.hidden"]
    assert listed(columns=columns, sort="model.optimizer.lr").splitlines() == [
        "name  status    model.optimizer.lr  machine.n_threads  model.net.hidden",
        "c     failed                 0.001                  2  [8, 8]",
        "a     finished               0.010                  2  [8, 8]",
        "b     finished               0.100                  2  [8, 8]",
    ]


def test_sort_orders_and_where_chooses(listed: Make) -> None:
    for options, expected in (
        # A run without the value comes last.
        *(({"sort": "best"}, "abc"), ({"sort": "-best"}, "bac"), ({"sort": "-name"}, "cba"), ({}, "cba")),
        *(({"where": ["seed=2"]}, "b"), ({"where": ["seed!=2"]}, "ca"), ({"where": ["seed>=2"]}, "cb")),
        *(({"where": ["seed<2"]}, "a"), ({"where": ["model.optimizer.lr<=1e-2"]}, "ca")),
        *(({"where": ["model.optimizer.lr=1e-2"]}, "a"), ({"where": ["best>0.7", "status=finished"]}, "ba")),
        *(({"where": ["best!=0.75"]}, "cb"), ({"where": ["overrides=seed=1"]}, "a")),
        *(({"where": ["model.net.hidden=[8,8]"]}, "cba"), ({"where": ["started>2026-02"]}, "")),
        ({"where": ["git.dirty=false", "data.seed=3"]}, "c"),
    ):
        assert names(listed(**options, form="json")) == expected, options


def test_sort_orders_values_of_all_types(logs: Path, make_run: Make) -> None:
    for name, value in zip("abcdef", ("x", 10, None, -1.5, [1], float("nan")), strict=True):
        make_run(name, extra=value)
    text = list_runs(find_runs([], logs=logs), columns=["extra"], sort="extra", form="json")
    assert names(text)[:4] == "dbea"


def test_json_and_csv_hold_all_digits(listed: Make, make_run: Make) -> None:
    make_run("d", score=0.1234567890123)
    columns: Any = ["best", "model.net.hidden"]
    first = json.loads(listed(columns=columns, form="json"))[0]
    values = {"best": 0.1234567890123, "model.net.hidden": [8, 8]}
    assert first == {"name": "d", "status": "finished", **values}
    rows = [*csv.reader(listed(columns=columns, form="csv").splitlines())]
    assert rows[:2] == [["name", "status", *columns], ["d", "finished", "0.1234567890123", "[8, 8]"]]
    assert rows[2][2] == ""


def test_unknown_key_or_condition_is_refused(listed: Make) -> None:
    for options, message in (
        ({"columns": ["model.lr"]}, "found 'model.lr'; did you mean model.optimizer.lr"),
        ({"sort": "-model.optimiser.lr"}, "did you mean model.optimizer.lr"),
        ({"where": ["xyz=1"]}, "found 'xyz'; see config.yaml and run.json of a run"),
        ({"where": ["seed"]}, "A condition must be key=value, with .*; got 'seed'"),
        ({"columns": ["val.macro_f1"]}, "none of the runs is evaluated: .*src/evaluate.py"),
    ):
        with pytest.raises(ValueError, match=message):
            listed(**options)


def test_list_shortens_overrides_or_says_that_there_is_nothing(listed: Make, make_run: Make) -> None:
    assert list_runs([], form="json") == "[]"
    assert list_runs([]) == "There are no runs yet"
    assert listed(where=["seed=9", "best>0"]) == "None of 3 runs meets seed=9 and best>0"
    make_run("d", commands=[{"overrides": ["model.net.hidden=8"]}])
    assert "  hidden=8  " in listed()


def test_command_warns_of_damaged_runs(listed: Make, command: Make, make_run: Make, logs: Path) -> None:
    damaged = make_run("d").path / "run.json"
    damaged.write_text("{")
    out, err, code = command(f"runs --logs {logs} --columns best,seed --sort -best")
    rows = (
        "name status best seed",
        "b finished 0.8125 2",
        "a finished 0.7500 1",
        "d damaged - 0",
        "c failed - 3",
    )
    assert [" ".join(line.split()) for line in out.splitlines()] == [*rows]
    assert err.startswith(f"Warning: {damaged} cannot be used; found Expecting")
    assert code == ""
    out, *_ = command(f"runs {logs}/train/runs --summary --columns best")
    assert "2 best 0.7812 ± 0.0442" in " ".join(out.split())
    out, err, code = command(f"runs --logs {logs} --columns sed")
    assert (out, err, code.partition(";")[0]) == ("", "", f"Error: {KEY}")
