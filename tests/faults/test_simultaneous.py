"""Two people run the same command in the same folder at once: one waits or fails, nothing is corrupted."""

import json
import re
import time
from pathlib import Path

import pytest

from faults.project import SMALL, USES, Project, end

pytestmark = [pytest.mark.faults, pytest.mark.long]

TRAIN = (*SMALL, "trainer.max_epochs=2", "data.batch_size=256", "publish.run=models/trained")


def together(project: Project, *command: str) -> None:
    """Run a command twice at the same time; both must end well and leave nothing half-written."""
    for process in [project.start(*command) for _ in range(2)]:
        end(process)
    assert project.left_behind() == []


def status(run: Path) -> str:
    return json.loads((run / "run.json").read_text())["status"]


@pytest.mark.parametrize("stage", ["explore", "split", "normalize", "make_tensors"])
def test_a_stage_twice(stage: str, project: Project) -> None:
    expected = project.outputs()
    together(project, f"scripts/{stage}.py")
    assert project.outputs() == expected


@pytest.mark.parametrize("options", [(), ("resume=auto",)], ids=["train", "resume"])
def test_training_twice(options: tuple[str, ...], project: Project) -> None:
    """Each has its own folder; what both publish is one of the two, whole."""
    together(project, *TRAIN, *options)
    assert [status(run) for run in project.runs()] == ["finished"] * 2
    published = project.folder / "models/trained"
    contents = [
        [(run / name).read_bytes() for name in ("run.json", "config.yaml")]
        for run in (published, *project.runs())
    ]
    assert contents.count(contents[0]) == 2
    project.run(*USES["evaluate"])


def test_a_run_that_still_trains_is_not_resumed_by_name(project: Project) -> None:
    first = project.start(*TRAIN, "trainer.max_epochs=200", "callbacks.early_stopping.patience=200")
    try:
        deadline = time.monotonic() + 60
        while not [*project.folder.glob("logs/train/runs/*/checkpoints/last.ckpt")]:
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.05)
        (run,) = project.runs()
        project.refuses("src/train.py", f"resume={run}", message="still trains")
        assert first.poll() is None, "it must still train for the test to say something"
        assert status(run) == "running"
    finally:
        first.kill()
        first.communicate()


def test_two_exports_into_one_folder(trained_project: Project) -> None:
    together(trained_project, *USES["export"])
    trained_project.run(*USES["predict"])


def test_dvc_repro_twice(dvc_project: Project) -> None:
    """DVC lets one of them work and reports the other one, or that one waits."""
    command = ("dvc", "repro", "make_tensors")
    processes = [dvc_project.start(*command) for _ in range(2)]
    outputs = ["".join(process.communicate(timeout=300)) for process in processes]
    codes = [process.returncode for process in processes]
    assert 0 in codes, outputs
    for code, output in zip(codes, outputs, strict=True):
        assert code == 0 or re.search("lock|busy|running", output, re.IGNORECASE), output
    again = end(dvc_project.start(*command))
    assert "Running stage" not in again, "what the first two left must be complete"
