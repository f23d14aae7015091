"""Two people run the same command in the same folder at once: one waits or fails, nothing is corrupted."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from faults.project import SMALL, USES, Project, environment

pytestmark = [pytest.mark.faults, pytest.mark.long]

TRAIN = (*SMALL, "trainer.max_epochs=2", "data.batch_size=256", "publish.run=models/trained")


def together(project: Project, *command: str, n: int = 2) -> list[subprocess.Popen[str]]:
    """Start commands at the same time and wait for them."""
    processes = [project.start(*command) for _ in range(n)]
    for process in processes:
        _, process.errors = process.communicate(timeout=300)
    return processes


@pytest.mark.parametrize("stage", ["explore", "split", "normalize", "make_tensors"])
def test_a_stage_twice(stage: str, project: Project) -> None:
    expected = project.outputs()
    for process in together(project, f"scripts/{stage}.py"):
        assert process.returncode == 0, process.errors
    assert project.outputs() == expected
    assert project.left_behind() == []


def test_training_twice(project: Project) -> None:
    """Each has its own folder; what both publish is one of the two, whole."""
    for process in together(project, *TRAIN):
        assert process.returncode == 0, process.errors
    runs = [*project.folder.glob("logs/train/runs/*/run.json")]
    assert [json.loads(path.read_text())["status"] for path in runs] == ["finished"] * 2
    published = project.folder / "models/trained"
    same = [
        all(
            (path.parent / part).read_bytes() == (published / part).read_bytes()
            for part in ("run.json", "config.yaml")
        )
        for path in runs
    ]
    assert sorted(same) == [False, True]
    project.run(*USES["evaluate"])
    assert project.left_behind() == []


def test_a_resume_twice(project: Project) -> None:
    """`resume=auto` leaves a run to the process that trains it."""
    processes = together(project, *TRAIN, "resume=auto")
    for process in processes:
        assert process.returncode == 0, process.errors
    runs = [*project.folder.glob("logs/train/runs/*/run.json")]
    assert [json.loads(path.read_text())["status"] for path in runs] == ["finished"] * 2


def test_a_run_that_still_trains_is_not_resumed_by_name(project: Project) -> None:
    first = project.start(*TRAIN, "trainer.max_epochs=200", "callbacks.early_stopping.patience=200")
    try:
        deadline = time.monotonic() + 60
        while not [*project.folder.glob("logs/train/runs/*/checkpoints/last.ckpt")]:
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.05)
        (run,) = project.folder.glob("logs/train/runs/*")
        done = project.run("src/train.py", f"resume={run}", check=False)
        assert first.poll() is None, "it must still train for the test to say something"
        assert done.code == 1
        assert "still trains" in done.errors
        assert json.loads((run / "run.json").read_text())["status"] == "running"
    finally:
        first.kill()
        first.communicate()


def test_two_exports_into_one_folder(trained_project: Project) -> None:
    project = trained_project
    for process in together(project, *USES["export"]):
        assert process.returncode == 0, process.errors
    project.run(*USES["predict"])
    assert project.left_behind() == []


def test_dvc_repro_twice(dvc_project: Path) -> None:
    """DVC lets one of them work and reports the other one, or that one waits."""

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["dvc", "repro", "make_tensors"],
            cwd=dvc_project,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    processes = [start(), start()]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    codes = [process.returncode for process in processes]
    assert 0 in codes, outputs
    for code, output in zip(codes, outputs, strict=True):
        assert (
            code == 0 or "lock" in output.lower() or "busy" in output.lower() or "running" in output.lower()
        ), output
    again = start()
    output = again.communicate(timeout=300)[0]
    assert again.returncode == 0, output
    assert "Running stage" not in output, "what the first two left must be complete"
