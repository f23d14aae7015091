import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from canopy.runs.listed import ListedRun, find_run, find_runs

Make = Callable[..., Any]


def names(runs: list[ListedRun]) -> list[str]:
    return [run.name for run in runs]


def test_runs_and_jobs_of_multiruns_are_listed_newest_first(make_run: Make, logs: Path) -> None:
    for name in ("b", "sweep/0", "sweep/1", "a"):
        make_run(name)
    (logs / "train/runs/a/checkpoints").mkdir()
    (logs / "train/runs/empty").mkdir()
    assert names(find_runs([], logs=logs)) == ["a", "sweep/1", "sweep/0", "b"]
    assert names(find_runs([logs / "train/multiruns/sweep"], logs=logs)) == ["sweep/1", "sweep/0"]
    twice = find_runs([logs / "train/runs/a", logs / "train/runs"], logs=logs)
    assert names(twice) == ["a", "b"]


def test_without_any_run_the_list_is_empty_but_a_named_folder_must_hold_some(logs: Path) -> None:
    assert find_runs([], logs=logs) == []
    with pytest.raises(FileNotFoundError, match="must be a run or hold runs; found no such folder"):
        find_runs([logs], logs=logs)
    logs.mkdir()
    with pytest.raises(FileNotFoundError, match="must be a run or hold runs; found none below it"):
        find_runs([logs], logs=logs)


def test_a_run_is_found_by_folder_and_by_name(make_run: Make, logs: Path) -> None:
    folder = make_run("sweep/0")
    assert find_run(str(folder), logs=logs).path == find_run("sweep/0", logs=logs).path == folder
    with pytest.raises(FileNotFoundError, match="c must be a run's folder or name"):
        find_run("c", logs=logs)


def test_a_file_is_no_run(make_run: Make, logs: Path) -> None:
    file = make_run("a") / "config.yaml"
    with pytest.raises(FileNotFoundError, match=f"{file} must be a run's folder.*; found a file: "):
        find_run(str(file), logs=logs)
    with pytest.raises(
        FileNotFoundError, match="https://a.org/b must be a run or hold runs; found a URL: see"
    ):
        find_runs([Path("https://a.org/b")], logs=logs)


def test_values_come_from_config_record_and_scores(make_listed: Make, evaluate: Make) -> None:
    run = make_listed("a", lr=0.02, seed=7, score=0.625)
    assert run.value("model.net.hidden") == [8, 8]
    assert run.value("model.scheduler.max_lr") == 0.02
    assert run.value("data.seed") == 7
    assert run.value("run_folder") == "${hydra:runtime.output_dir}"
    assert run.value("machine.n_threads") == 2
    assert run.value("best.metrics.val/accuracy") == 0.625
    assert run.value("best") == run.value("best.score") == 0.625
    assert run.value("overrides") == "seed=7"
    assert run.value("test.accuracy") is None


@pytest.mark.parametrize(
    ("host", "alive", "status"),
    [(None, True, "running"), (None, False, "killed"), ("elsewhere", False, "running")],
)
def test_a_run_whose_process_is_gone_was_killed(
    make_listed: Make, host: str | None, alive: bool, status: str
) -> None:
    gone = multiprocessing.get_context("spawn").Process(target=int)
    gone.start()
    gone.join()
    process = {"host": host or socket.gethostname(), "pid": os.getpid() if alive else gone.pid}
    assert make_listed("a", status="running", process=process).status == status


@pytest.mark.parametrize("content", ["", '{"status": "fin', "[]", "{}", '{"status": 3}', "\x00"])
def test_a_damaged_record_is_listed_as_such(make_run: Make, logs: Path, content: str) -> None:
    folder = make_run("a")
    (folder / "run.json").write_text(content)
    (run,) = find_runs([], logs=logs)
    assert run.status == "damaged"
    assert run.problems[0].startswith(f"{folder / 'run.json'} cannot be used; found ")
    assert (run.value("seed"), run.value("best")) == (0, None)
    assert run.started.startswith("20")


def test_a_record_that_is_no_text_is_damaged(make_run: Make, logs: Path) -> None:
    (make_run("a") / "run.json").write_bytes(b"\xff\xfe\x00")
    assert find_runs([], logs=logs)[0].status == "damaged"


def test_a_run_without_a_record_has_not_trained(make_run: Make, logs: Path) -> None:
    (make_run("a") / "run.json").unlink()
    assert find_runs([], logs=logs)[0].status == "unrecorded"


def test_parts_of_other_types_do_no_harm(make_listed: Make) -> None:
    run = make_listed("a", status="running", commands=3, process="x", started=None, best=None, training=[1])
    assert (run.status, run.overrides, run.value("best"), run.value("epochs")) == ("running", "", None, None)


@pytest.mark.parametrize("content", ["a: [", "- 1", "a: ${", "\x07"])
def test_a_damaged_config_is_a_problem_and_no_crash(make_run: Make, logs: Path, content: str) -> None:
    (make_run("a") / "config.yaml").write_text(content)
    (run,) = find_runs([], logs=logs)
    assert run.value("seed") is None
    assert run.status == "finished"
    assert len(run.problems) == (content != "a: ${")


def test_a_broken_interpolation_is_shown_as_it_stands(make_run: Make, logs: Path) -> None:
    (make_run("a") / "config.yaml").write_text("a: ${\nb: ${c}\nd: ${b}")
    (run,) = find_runs([], logs=logs)
    assert [run.value(key) for key in "abd"] == ["${", "${c}", "${b}"]
