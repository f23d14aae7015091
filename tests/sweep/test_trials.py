"""Sweeps as they are read: tables, summaries, the page of plots, the command."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from canopy.sweep.report import draw_plots, write_report
from canopy.sweep.trials import list_sweeps, list_trials, load_sweeps, ranked, state_of, summarize_sweep
from sweep_app import ROOT

Make = Callable[..., Any]
PAIR = {"directions": ("maximize", "minimize"), "monitor": ("x", "y")}


def test_trials_are_listed_the_best_first(mixed: optuna.Study) -> None:
    assert [line.split() for line in list_trials(mixed).splitlines()] == [
        ["number", "state", "val/accuracy", "epochs", "seconds", "lr", "dropout", "reason"],
        ["1", "complete", "0.750", "2", "10", "0.0100", "0.00", "-"],
        ["0", "complete", "0.500", "2", "10", "0.0010", "0.10", "-"],
        ["2", "pruned", "0.125", "1", "10", "0.0001", "0.50", "-"],
        ["5", "running", "0.500", "1", "-", "0.0200", "0.00", "-"],
        ["6", "waiting", "-", "-", "-", "-", "-", "-"],
        ["3", "failed", "-", "-", "10", "0.1000", "0.25", "no", "<b>loss</b>"],
    ]
    header, _, line, *_ = list_trials(mixed, form="csv").splitlines()
    assert header.startswith("number,state,val/accuracy,epochs,seconds,model.optimizer.lr,model.net.dropout,")
    assert line == "0,complete,0.5,2,10.0,0.001,0.1,logs/x/0,,"
    rows = json.loads(list_trials(mixed, form="json"))
    values = [0, "complete", 0.5, 2, 10.0, 0.001, 0.1, "logs/x/0", None, None]
    assert rows[1] == dict(zip(header.split(","), values, strict=True))
    assert rows[4]["retry_of"] == 3


def test_a_minimized_sweep_has_its_lowest_value_first(make_study: Make) -> None:
    sweep = make_study(0.5, 0.25, float("inf"), 0.75, directions=("minimize",), monitor=("val/nll",))
    assert [trial.number for trial in ranked(sweep)] == [1, 0, 3, 2]
    assert json.loads(list_trials(sweep, form="json"))[-1]["val/nll"] is None
    assert "Best val/nll 0.25, trial 1:" in summarize_sweep(sweep)


def test_the_summary_gives_the_best_trial_and_the_command(
    mixed: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    *lines, command = summarize_sweep(mixed).splitlines()
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
    assert summarize_sweep(mixed).endswith("src/train.py reproduce=logs/x/1")


def test_several_objectives_have_a_pareto_front(make_study: Make) -> None:
    sweep = make_study((0.5, 2.0), (0.75, 3.0), (0.5, 3.0), (0.25, 1.0), **PAIR)
    assert [trial.number for trial in ranked(sweep)] == [1, 0, 2, 3]
    assert summarize_sweep(sweep).splitlines()[-1] == "Pareto front: trial 0, trial 1, trial 3"
    titles = [figure.layout.title.text for figure in draw_plots(sweep)]
    assert titles[0] == "Pareto-front Plot"
    assert titles.count("Optimization History Plot") == titles.count("Slice Plot") == 2


def test_a_trial_that_breaks_a_constraint_is_not_the_best(make_study: Make, add_trial: Make) -> None:
    sweep = make_study()
    add_trial(sweep, 0.75, violations=(-1.0, 2.0))
    assert "Best" not in summarize_sweep(sweep)
    add_trial(sweep, 0.5, violations=(-1.0, 0.0))
    assert "Best val/accuracy 0.5, trial 1:" in summarize_sweep(sweep)
    assert re.search(r"\n +0 .* breaks a constraint$", list_trials(sweep))


def test_a_sweep_without_trials_is_no_mistake(make_study: Make, tmp_path: Path) -> None:
    sweep = make_study()
    listed = [list_trials(sweep, form=form) for form in ("text", "json", "csv")]
    header = "number,state,val/accuracy,epochs,seconds,run,reason,retry_of"
    assert listed == ["Nothing to list: there are none yet", "[]", header]
    write_report(sweep, tmp_path / "new/report.html")
    assert "Sweep a: maximizes val/accuracy\nTrials: 0</pre>" in (tmp_path / "new/report.html").read_text()


def test_a_trial_whose_process_is_gone_was_killed(make_study: Make, add_trial: Make) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    sweep = make_study()
    for pid in (os.getpid(), gone.pid):
        add_trial(sweep, state=TrialState.RUNNING, worker={"host": socket.gethostname(), "pid": pid})
    add_trial(sweep, state=TrialState.FAIL, killed=True)
    # Its heartbeat had only expired.
    add_trial(sweep, 0.5, killed=True)
    assert [state_of(trial) for trial in sweep.trials] == ["running", "killed", "killed", "complete"]


def test_sweeps_are_listed_with_counts_and_best(mixed: optuna.Study, url: str, make_study: Make) -> None:
    make_study((1.0, 2.0), name="b", **PAIR)
    columns = ["sweep", "objective", "trials", "complete", "pruned", "running", "waiting", "killed", "failed"]
    assert [line.split() for line in list_sweeps(load_sweeps(url).values()).splitlines()] == [
        [*columns, "best", "trial"],
        ["a", "maximizes", "val/accuracy", *"6211101", "0.75", "1"],
        ["b", "maximizes", "x,", "minimizes", "y", *"1100000", "-", "-"],
    ]


def test_reading_makes_no_storage() -> None:
    with pytest.raises(FileNotFoundError, match="must exist; got no file at none/a.db"):
        load_sweeps("sqlite:///none/a.db")
    with pytest.raises(ValueError, match="database that can be opened"):
        load_sweeps("a.db")
    assert not Path("none").exists()


def test_the_page_has_all_plots_and_plotly_once_and_loads_nothing(
    mixed: optuna.Study, tmp_path: Path, make_study: Make
) -> None:
    assert [figure.layout.title.text for figure in draw_plots(mixed)] == [
        *("Optimization History Plot", "Hyperparameter Importances", "Slice Plot"),
        *("Parallel Coordinate Plot", "Intermediate Values Plot", "Timeline Plot"),
    ]
    write_report(mixed, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text.count("* plotly.js v") == 1
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", text)
    assert "Best val/accuracy 0.75, trial 1:" in text
    # No text ends a script.
    write_report(make_study(0.5, 0.75, name="</script><b>x", monitor=("</script><i>y",)), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert "</script><" not in text.replace("</script></head>", "")
    assert "&lt;/script&gt;&lt;b&gt;x" in text


@pytest.mark.parametrize(
    ("arguments", "unused", "output"),
    [
        (["--help"], {"optuna", "plotly", "torch"}, "Read sweeps"),
        ([], {"plotly", "torch", "lightning", "pandas"}, "sweep  objective"),
        (["a"], {"plotly", "torch", "lightning", "pandas"}, "Sweep a: maximizes val/accuracy\nTrials: 6"),
        (["a", "--report", "{folder}/page.html"], set(), "{folder}/page.html"),
        (["b"], {"plotly"}, "Error: A sweep must be one of its storage; got 'b': there is a"),
        (["a", "--best", "mlp"], {"plotly"}, "Error: An experiment must have a new name; got "),
        (["a", "--best", "new", "--trial", "2"], {"plotly"}, "Error: A trial to export must be complete"),
    ],
)
@pytest.mark.usefixtures("mixed")
def test_the_command_answers_and_imports_what_it_needs(
    url: str, arguments: list[str], unused: set[str], output: str, tmp_path: Path
) -> None:
    given = [*(argument.format(folder=tmp_path) for argument in arguments), "--storage", url]
    code = (
        f"import runpy, sys; sys.argv = {['sweep.py', *given]!r}\n"
        "try:\n"
        "    runpy.run_path('src/sweep.py', run_name='__main__')\n"
        "finally:\n"
        f"    assert not {unused!r} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    is_mistake = output.startswith("Error")
    assert done.returncode == is_mistake
    answer, nothing = (done.stderr, done.stdout) if is_mistake else (done.stdout, done.stderr)
    assert (output.format(folder=tmp_path) in answer, nothing) == (True, "")
    assert not is_mistake or answer.count("\n") == 1
