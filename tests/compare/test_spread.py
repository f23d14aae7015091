import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from canopy.compare.listing import summarize_runs
from canopy.compare.spread import Spread, varying_keys
from canopy.runs.listed import find_runs

Make = Callable[..., Any]


def test_the_interval_is_students() -> None:
    values = np.random.default_rng(0).normal(size=7).tolist()
    spread = Spread.of(values)
    expected = stats.t.interval(0.95, df=6, loc=np.mean(values), scale=stats.sem(values))
    assert (spread.low, spread.high) == pytest.approx(expected)
    assert spread.sd == pytest.approx(np.std(values, ddof=1))


def test_one_run_has_no_spread() -> None:
    assert Spread.of([0.5]) == Spread(n=1, mean=0.5, sd=None, low=None, high=None)


@pytest.fixture
def sweep(make_run: Make) -> None:
    """Two values of lr with two seeds each, and a failed run."""
    for job, (lr, seed, score) in enumerate([(0.1, 0, 0.5), (0.1, 1, 0.75), (0.01, 0, 0.5), (0.01, 1, 0.5)]):
        make_run(f"sweep/{job}", lr=lr, seed=seed, score=score)
    make_run("sweep/4", lr=0.01, seed=2, status="failed", best={}, training={})


@pytest.mark.usefixtures("sweep")
def test_groups_are_exactly_these(logs: Path) -> None:
    columns = ["best", "status", "epochs"]
    text = summarize_runs(find_runs([], logs=logs), keys=["model.optimizer.lr"], columns=columns)
    assert text.splitlines() == [
        "5 runs: 1 failed, 4 finished",
        "They differ in seed (0, 1, 2); model.optimizer.lr (0.01, 0.1)",
        "",
        "model.optimizer.lr  n  column  mean ± sd        95 % interval",
        "              0.01  2  best    0.5000 ± 0.0000  0.5000 to 0.5000",
        "                    2  epochs  3.0000 ± 0.0000  3.0000 to 3.0000",
        "               0.1  2  best    0.6250 ± 0.1768  -0.9633 to 2.2133",
        "                    2  epochs  3.0000 ± 0.0000  3.0000 to 3.0000",
    ]


@pytest.mark.usefixtures("sweep")
def test_groups_as_json_and_csv(logs: Path) -> None:
    runs = find_runs([], logs=logs)
    groups = json.loads(summarize_runs(runs, keys=["model.optimizer.lr", "seed"], form="json"))
    assert [group["values"] for group in groups] == [
        {"model.optimizer.lr": lr, "seed": seed}
        for lr, seed in [(0.01, 0), (0.01, 1), (0.01, 2), (0.1, 0), (0.1, 1)]
    ]
    assert groups[-1]["spreads"]["best"] == {"n": 1, "mean": 0.75, "sd": None, "low": None, "high": None}
    assert (groups[2]["n"], groups[2]["spreads"]) == (1, {})
    rows = list(
        csv.DictReader(summarize_runs(runs, keys=["seed"], columns=["best"], form="csv").splitlines())
    )
    assert [(row["seed"], row["n"], row["mean"]) for row in rows] == [("0", "2", "0.5"), ("1", "2", "0.625")]


@pytest.mark.usefixtures("sweep")
def test_a_summary_has_every_score_of_evaluated_runs(logs: Path, evaluate: Make) -> None:
    runs = find_runs([], logs=logs)
    columns = list(json.loads(summarize_runs(runs, form="json"))[0]["spreads"])
    assert columns == ["best", "epochs", "seconds", "best.metrics.val/accuracy"]
    labels = np.array([0, 1, 2, 0])
    for run, predicted in zip(runs[1:], (labels, labels[::-1]), strict=False):
        evaluate(run.path, labels, predicted)
    (group,) = json.loads(summarize_runs(find_runs([], logs=logs), form="json"))
    assert group["n"] == 5
    assert group["spreads"]["test.accuracy"]["mean"] == 0.75
    assert group["spreads"]["test.per_class.Plum/Damson.recall"]["n"] == 2
    assert "test.n_rows" not in group["spreads"]
    assert "metrics.val/accuracy" not in group["spreads"]


@pytest.mark.usefixtures("sweep")
def test_nothing_to_average_is_refused(logs: Path) -> None:
    with pytest.raises(ValueError, match="A summary needs numbers; found none in status of 5 runs"):
        summarize_runs(find_runs([], logs=logs), columns=["status"])


@pytest.mark.usefixtures("sweep")
def test_runs_of_one_config_say_so(logs: Path) -> None:
    runs = find_runs([logs / "train/multiruns/sweep/0"], logs=logs)
    assert varying_keys(runs) == {}
    assert "1 run: 1 finished\nTheir configs are the same" in summarize_runs(runs)
