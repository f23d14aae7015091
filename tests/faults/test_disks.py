"""A disk that is full, a folder that cannot be written, an input that is gone: an error, nothing changed."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from faults.project import SMALL, STAGES, USES, Project

pytestmark = pytest.mark.faults

Mount = Callable[..., AbstractContextManager[None]]
# Each command's inputs.
INPUTS = {
    "explore": "data/raw/covtype.csv",
    "drop_columns": "data/raw/covtype.csv",
    "split": "data/interim/drop_columns.csv",
    "normalize": "data/interim/split.csv",
    "cap_classes": "data/interim/normalize.csv",
    "make_tensors": "data/interim/cap_classes.csv reports/class_cap.json data/processed/preprocessor.json",
    "training": "data/processed/schema.json data/processed/train/00000.pt data/processed/val/00000.pt "
    "data/processed/preprocessor.json",
    "evaluate": "models/trained/checkpoints/best.ckpt models/trained/schema.json models/trained/config.yaml "
    "data/processed/test/00000.pt",
    "export": "models/trained/checkpoints/best.ckpt models/trained/preprocessor.json data/raw/covtype.csv "
    "data/interim/split.csv data/processed/test/00000.pt reports/metrics.json",
    "compress": "models/trained/checkpoints/best.ckpt models/canopy/model.onnx data/raw/covtype.csv "
    "data/interim/split.csv data/processed/train/00000.pt data/processed/val/00000.pt",
    "predict": "models/canopy/model.onnx models/canopy/model.json data/raw/covtype.csv",
}
# Where each writes.
OUTPUTS = {
    **dict.fromkeys(STAGES, "data"),
    **dict.fromkeys(("explore", "evaluate", "predict"), "reports"),
    **dict.fromkeys(("export", "compress"), "models"),
}


def command_of(name: str) -> tuple[str, ...]:
    # A seed of its own, so that a stage's outputs differ from those that are there.
    return SMALL if name == "training" else USES.get(name, (f"scripts/{name}.py", "seed=7"))


def case(name: str, *values: str) -> object:
    return pytest.param(name, *values, marks=pytest.mark.long if name in USES else ())


@contextmanager
def small_disk(folder: Path, mounted: Mount) -> Iterator[None]:
    """Put a folder on a file system with 4 KiB to spare, with what is in it."""
    kept = shutil.copytree(folder, folder.with_name("kept"))
    # Each file takes whole pages of 4 KiB, folders none.
    n_pages = sum(-(-path.stat().st_size // 4096) for path in kept.rglob("*") if path.is_file())
    with mounted(folder, "-t", "tmpfs", "-o", f"size={(n_pages + 1) * 4}k", "tmpfs"):
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        yield


@pytest.mark.parametrize("reason", ["No space left", "Read-only file system"])
@pytest.mark.parametrize("name", [case(name) for name in OUTPUTS])
def test_command_cannot_write(
    name: str, reason: str, project_for: Callable[[bool], Project], mounted: Mount
) -> None:
    project = project_for(name in USES)
    folder = project.folder / OUTPUTS[name]
    # No mode of a folder would keep root from writing.
    read_only = mounted(folder, "-o", "bind,ro", str(folder))
    with small_disk(folder, mounted) if reason == "No space left" else read_only:
        project.refuses(*command_of(name), message=f"must be writable; got {reason}")


@pytest.mark.parametrize(
    ("name", "path"), [case(name, path) for name, paths in INPUTS.items() for path in paths.split()]
)
def test_input_is_gone(name: str, path: str, project_for: Callable[[bool], Project]) -> None:
    project = project_for(name in USES)
    (project.folder / path).unlink()
    last = Path(path).name
    used = f"{last} must exist|must hold {last}|{last}.* must exist"
    message = used if name in USES else f"{last} must exist; found no such file"
    reported = project.refuses(*command_of(name), message=message)
    assert name not in STAGES or "run" in reported


@pytest.mark.long
def test_training_on_a_full_disk_resumes_when_there_is_room(project: Project, mounted: Mount) -> None:
    """The run keeps its last whole checkpoint; `resume` continues from it."""
    logs = project.folder / "logs"
    shutil.rmtree(logs)
    logs.mkdir()
    options = (
        *(*SMALL, "trainer.max_epochs=6", "callbacks.resume_checkpoint.every_n_seconds=0"),
        *("callbacks.early_stopping.patience=100", "name=run"),
    )
    expected = project.copy(project.folder.with_name("expected"))
    expected.run(*options)
    size = sum(path.stat().st_size for path in expected.runs()[0].rglob("*") if path.is_file()) // 1024
    # Room for a checkpoint, not for two and the next one.
    with mounted(logs, "-t", "tmpfs", "-o", f"size={size * 6 // 10}k", "tmpfs"):
        project.refuses(*options, message="No space left on device")
        (run,) = project.runs()
        assert not [*run.rglob("*.tmp")]
        shutil.copytree(run, project.folder / "saved")
    project.run("src/train.py", "resume=saved")
