import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canopy.runs.find import find_run, find_runs
from canopy.runs.run import Run

Make = Callable[..., Run]
WHOLE = {"status": "finished", "process": {"host": "a", "pid": 1}, "commands": [{"overrides": []}]}


def test_find_runs_lists_runs_and_jobs_newest_first(make_run: Make, logs: Path) -> None:
    for name in ("b", "sweep/0", "sweep/1", "a"):
        make_run(name)
    runs, sweep = logs / "train/runs", logs / "train/multiruns/sweep"
    (runs / "a/checkpoints").mkdir()
    (runs / "empty").mkdir()
    expected = {(): "a sweep/1 sweep/0 b", (sweep,): "sweep/1 sweep/0", (runs / "a", runs): "a b"}
    for folders, names in expected.items():
        assert " ".join(run.name for run in find_runs(folders, logs=logs)) == names


def test_find_runs_refuses_a_folder_without_runs(logs: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"Runs must be in {logs}/train of a project"):
        find_runs([], logs=logs)
    for folder in (logs, logs.parent):
        with pytest.raises(FileNotFoundError, match=f"{folder} must be a run or hold runs; found no"):
            find_runs([folder], logs=logs)


def test_find_run_takes_a_folder_or_a_name(make_run: Make, logs: Path) -> None:
    folder = make_run("sweep/0").path
    assert find_run(str(folder), logs=logs).path == find_run("sweep/0", logs=logs).path == folder
    with pytest.raises(FileNotFoundError, match="c must be a run's folder or name; found none of that name"):
        find_run("c", logs=logs)


def test_value_comes_from_config_record_and_scores(make_run: Make, evaluate: Callable[..., None]) -> None:
    run = make_run("a", lr=0.02, seed=7, score=0.625)
    evaluate(run, np.array([0, 1]), np.array([0, 0]))
    for key, value in [
        *(("model.net.hidden", [8, 8]), ("model.scheduler.max_lr", 0.02), ("data.seed", 7)),
        *(("run_folder", "${hydra:runtime.output_dir}"), ("machine.n_threads", 2), ("overrides", "seed=7")),
        *(("best.metrics.val/accuracy", 0.625), ("best", 0.625)),
        *(("test.accuracy", 0.5), ("val.accuracy", None)),
    ]:
        assert run.value(key) == value, key


def test_status_is_killed_if_the_process_is_gone(make_run: Make) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = socket.gethostname()
    for host, pid, status in (
        *((here, os.getpid(), "running"), (here, gone.pid, "killed"), (here, -1, "killed")),
        ("elsewhere", gone.pid, "running"),
    ):
        run = make_run(f"{host}{pid}", status="running", process={"host": host, "pid": pid})
        assert run.status == status


@pytest.mark.parametrize(
    "content",
    [
        *("", '{"status": "fin', "[]", "{}", "\xff\xfe\0"),
        *({**WHOLE, "status": 3}, {**WHOLE, "process": "x"}, {**WHOLE, "process": {"host": "a"}}),
        *({**WHOLE, "commands": 3}, {**WHOLE, "commands": ["x"]}, {**WHOLE, "commands": [{"argv": []}]}),
        *({**WHOLE, "git": None}, {**WHOLE, "machine": "x"}),
    ],
)
def test_damaged_record_is_a_problem(make_run: Make, content: Any) -> None:
    run = make_run("a")
    text = content if isinstance(content, str) else json.dumps(content)
    (run.path / "run.json").write_text(text, encoding="latin-1")
    assert run.status == "damaged"
    assert run.problems[0].startswith(f"{run.path / 'run.json'} cannot be used; found ")
    assert (run.value("seed"), run.value("best")) == (0, None)
    assert run.started.startswith("20")


def test_record_or_parts_of_it_may_be_missing(make_run: Make) -> None:
    run = make_run("a", best=None, training={})
    assert (run.value("best"), run.value("epochs")) == (None, None)
    (run.path / "run.json").unlink()
    assert (Run(run.path).status, run.problems) == ("unrecorded", [])


def test_config_may_be_damaged_or_have_broken_interpolations(make_run: Make) -> None:
    folder = make_run("a").path
    for content in ("a: [", "- 1", "\x07"):
        (folder / "config.yaml").write_text(content)
        run = Run(folder)
        assert (run.value("seed"), run.status, len(run.problems)) == (None, "finished", 1)
    (folder / "config.yaml").write_text("a: ${\nb: ${c}\nd: ${b}")
    run = Run(folder)
    assert [run.value(key) for key in "abd"] == ["${", "${c}", "${b}"]
    assert run.problems == []
