"""Sweeps as they are read: tables, summaries, the page of plots, the command."""

import csv
import io
import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from canopy.sweep.report import draw_plots, write_report
from canopy.sweep.trials import (
    best_of,
    list_sweeps,
    list_trials,
    load_sweep,
    load_sweeps,
    ranked,
    state_of,
    summarize_sweep,
)
from sweep_app import ROOT

Make = Callable[..., Any]
LR, DROPOUT = "model.optimizer.lr", "model.net.dropout"
PAIR = {"directions": ("maximize", "minimize"), "monitor": ("x", "y")}


def test_trials_are_listed_the_best_first(mixed: str) -> None:
    table = list_trials(load_sweep("a", mixed))
    assert [line.split() for line in table.splitlines()] == [
        ["number", "state", "val/accuracy", "epochs", "seconds", "lr", "dropout", "reason"],
        ["1", "complete", "0.750", "2", "10", "0.0100", "0.00", "-"],
        ["0", "complete", "0.500", "2", "10", "0.0010", "0.10", "-"],
        ["2", "pruned", "0.125", "1", "10", "0.0001", "0.50", "-"],
        ["5", "running", "0.500", "1", "-", "0.0200", "0.00", "-"],
        ["6", "waiting", "-", "-", "-", "-", "-", "-"],
        ["3", "failed", "-", "-", "10", "0.1000", "0.25", "no", "<b>loss</b>"],
    ]


def test_csv_and_json_have_all_of_a_trial(mixed: str) -> None:
    sweep = load_sweep("a", mixed)
    rows = json.loads(list_trials(sweep, form="json"))
    assert rows[1] == {
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
    assert rows[4]["retry_of"] == 3
    table = csv.DictReader(io.StringIO(list_trials(sweep, form="csv")))
    assert [[*row, row["number"]] for row in table] == [[*row, str(row["number"])] for row in rows]


def test_a_minimized_sweep_has_its_lowest_value_first(url: str, make_study: Make, add_trial: Make) -> None:
    study = make_study(url, directions=("minimize",), monitor=("val/nll",))
    for value in (0.5, 0.25, float("inf"), 0.75):
        add_trial(study, value)
    sweep = load_sweep("a", url)
    assert [trial.number for trial in ranked(sweep)] == [1, 0, 3, 2]
    assert json.loads(list_trials(sweep, form="json"))[-1]["val/nll"] is None
    assert "Best val/nll 0.25, trial 1:" in summarize_sweep(sweep)


def test_the_summary_gives_the_best_trial_and_the_command(
    mixed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = load_sweep("a", mixed)
    *lines, command = summarize_sweep(sweep).splitlines()
    assert lines == [
        "Sweep a: maximizes val/accuracy",
        "Trials: 6, 2 complete, 1 pruned, 1 running, 1 waiting, 1 failed",
        "Best val/accuracy 0.75, trial 1:",
        "  model.optimizer.lr=0.01",
        "  model.net.dropout=0",
    ]
    assert command.endswith("src/train.py model.optimizer.lr=0.01 model.net.dropout=0.0")
    Path("logs/x/1").mkdir(parents=True)
    Path("logs/x/1/config.yaml").touch()
    assert summarize_sweep(sweep).endswith("src/train.py reproduce=logs/x/1")


def test_several_objectives_have_a_pareto_front(url: str, make_study: Make, add_trial: Make) -> None:
    study = make_study(url, **PAIR)
    for values in ((0.5, 2.0), (0.75, 3.0), (0.5, 3.0), (0.25, 1.0)):
        add_trial(study, *values)
    sweep = load_sweep("a", url)
    assert [trial.number for trial in best_of(sweep)] == [0, 1, 3]
    assert [trial.number for trial in ranked(sweep)] == [1, 0, 2, 3]
    assert summarize_sweep(sweep).splitlines()[-1] == "Pareto front: trial 0, trial 1, trial 3"
    titles = [figure.layout.title.text for figure in draw_plots(sweep)]
    assert titles[0] == "Pareto-front Plot"
    assert titles.count("Optimization History Plot") == titles.count("Slice Plot") == 2


def test_a_trial_that_breaks_a_constraint_is_not_the_best(
    url: str, make_study: Make, add_trial: Make
) -> None:
    study = make_study(url)
    add_trial(study, 0.75, violations=(-1.0, 2.0))
    add_trial(study, 0.5, violations=(-1.0, 0.0))
    sweep = load_sweep("a", url)
    assert [trial.number for trial in best_of(sweep)] == [1]
    assert re.search(r"\n +0 .* breaks a constraint$", list_trials(sweep))


def test_a_sweep_without_trials_is_no_mistake(url: str, make_study: Make, tmp_path: Path) -> None:
    make_study(url)
    sweep = load_sweep("a", url)
    assert [list_trials(sweep, form=form) for form in ("text", "json", "csv")] == [
        "Nothing to list: there are none yet",
        "[]",
        "",
    ]
    write_report(sweep, tmp_path / "new/report.html")
    assert "Sweep a: maximizes val/accuracy\nTrials: 0</pre>" in (tmp_path / "new/report.html").read_text()


@pytest.mark.parametrize(("alive", "word"), [(True, "running"), (False, "killed")])
def test_a_trial_whose_process_is_gone_was_killed(
    url: str, make_study: Make, add_trial: Make, *, alive: bool, word: str
) -> None:
    gone = multiprocessing.get_context("spawn").Process(target=int)
    gone.start()
    gone.join()
    worker = {"host": socket.gethostname(), "pid": os.getpid() if alive else gone.pid}
    study = make_study(url)
    add_trial(study, state=TrialState.RUNNING, worker=worker)
    add_trial(study, state=TrialState.FAIL, killed=True, reason="its process died")
    assert [state_of(trial) for trial in load_sweep("a", url).trials] == [word, "killed"]


def test_sweeps_are_listed_with_counts_and_best(mixed: str, make_study: Make, add_trial: Make) -> None:
    add_trial(make_study(mixed, "b", **PAIR), 1.0, 2.0)
    columns = ["sweep", "objective", "trials", "complete", "pruned", "running", "waiting", "killed", "failed"]
    assert [line.split() for line in list_sweeps(load_sweeps(mixed).values()).splitlines()] == [
        [*columns, "best", "trial"],
        ["a", "maximizes", "val/accuracy", *"6211101", "0.75", "1"],
        ["b", "maximizes", "x,", "minimizes", "y", *"1100000", "-", "-"],
    ]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///none/a.db", "must exist; got no file at none/a.db"),
        ("a.db", "database that can be opened"),
    ],
)
def test_to_read_makes_no_storage(url: str, message: str) -> None:
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        load_sweeps(url)
    assert not Path("none").exists()


def test_the_page_has_all_plots_and_plotly_once_and_loads_nothing(mixed: str, tmp_path: Path) -> None:
    sweep = load_sweep("a", mixed)
    assert [figure.layout.title.text for figure in draw_plots(sweep)] == [
        "Optimization History Plot",
        "Hyperparameter Importances",
        "Slice Plot",
        "Parallel Coordinate Plot",
        "Intermediate Values Plot",
        "Timeline Plot",
    ]
    write_report(sweep, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text.count("* plotly.js v") == 1
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", text)
    assert "Best val/accuracy 0.75, trial 1:" in text


def test_a_text_cannot_end_a_script(url: str, tmp_path: Path, make_study: Make, add_trial: Make) -> None:
    study = make_study(url, "</script><b>x", monitor=("</script><i>y",))
    for value in (0.5, 0.75):
        add_trial(study, value, curve=(value, value))
    write_report(load_sweep("</script><b>x", url), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "</script><" not in text.replace("</script></head>", "")
    assert "&lt;/script&gt;&lt;b&gt;x" in text


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "src/sweep.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["b"], "Error: A sweep must be one of its storage; got 'b': there is a"),
        (["a", "--best", "mlp"], "Error: An experiment must have a new name; got "),
        (["a", "--best", "new", "--trial", "2"], "Error: A trial to export must be complete"),
    ],
)
def test_a_mistake_is_one_line(mixed: str, arguments: list[str], message: str) -> None:
    done = run(*arguments, "--storage", mixed)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "modules", "output"),
    [
        (["--help"], {"optuna", "plotly", "torch"}, "Read sweeps"),
        ([], {"plotly", "torch", "lightning", "pandas"}, "sweep  objective"),
        (["a"], {"plotly", "torch", "lightning", "pandas"}, "Sweep a: maximizes val/accuracy\nTrials: 6"),
        (["a", "--report", "{folder}/page.html"], set(), "{folder}/page.html"),
    ],
)
def test_the_command_imports_what_it_needs_alone(
    mixed: str, arguments: list[str], modules: set[str], output: str, tmp_path: Path
) -> None:
    given = [*(argument.format(folder=tmp_path) for argument in arguments), "--storage", mixed]
    code = (
        f"import runpy, sys; sys.argv = {['sweep.py', *given]!r}\n"
        "try:\n"
        "    runpy.run_path('src/sweep.py', run_name='__main__')\n"
        "finally:\n"
        f"    assert not {modules!r} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert output.format(folder=tmp_path) in done.stdout
