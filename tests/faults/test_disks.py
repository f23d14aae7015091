"""A disk that is full, a folder that cannot be written, an input that is gone: an error, nothing changed."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.project import SMALL, STAGES, USES, Project

pytestmark = pytest.mark.faults

INPUTS = {
    "explore": ("data/raw/covtype.csv",),
    "drop_columns": ("data/raw/covtype.csv",),
    "split": ("data/interim/drop_columns.csv",),
    "normalize": ("data/interim/split.csv",),
    "cap_classes": ("data/interim/normalize.csv",),
    "make_tensors": (
        *("data/interim/cap_classes.csv", "reports/class_cap.json", "data/processed/preprocessor.json"),
    ),
}


@pytest.fixture
def on_small_disk(tmp_path: Path, mounted: Callable[..., Any]) -> Callable[..., Any]:
    """Put a folder of a project on a file system with some KiB to spare, with what is in it."""

    @contextmanager
    def put(project: Project, name: str, free_kib: int) -> Iterator[None]:
        folder = project.folder / name
        kept = tmp_path / "kept"
        shutil.copytree(folder, kept)
        # Each file takes whole pages of 4 KiB, folders none.
        size = (
            sum(-(-path.stat().st_size // 4096) for path in kept.rglob("*") if path.is_file()) * 4 + free_kib
        )
        with mounted(folder, "-t", "tmpfs", "-o", f"size={size}k", "tmpfs"):
            shutil.copytree(kept, folder, dirs_exist_ok=True)
            yield

    return put


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_on_a_full_disk(
    stage: str,
    project: Project,
    on_small_disk: Callable[..., Any],
    refuses: Callable[..., str],
    count: Callable[..., None],
) -> None:
    name = "reports" if stage == "explore" else "data"
    with on_small_disk(project, name, 4):
        # A seed of its own, so that the outputs differ from those that are there.
        refuses(project, f"scripts/{stage}.py", "seed=7", message="must be writable; got No space left")
        assert project.left_behind() == []
    count(f"full_disks.{stage}")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_in_a_read_only_folder(
    stage: str,
    project: Project,
    read_only: Callable[..., Any],
    refuses: Callable[..., str],
    count: Callable[..., None],
) -> None:
    folder = project.folder / ("reports" if stage == "explore" else "data")
    with read_only(folder):
        refuses(project, f"scripts/{stage}.py", message="must be writable; got Read-only file system")
    count(f"read_only_folders.{stage}")


@pytest.mark.parametrize(("stage", "name"), [(stage, name) for stage in STAGES for name in INPUTS[stage]])
def test_an_input_of_a_stage_is_gone(
    stage: str, name: str, project: Project, refuses: Callable[..., str], count: Callable[..., None]
) -> None:
    (project.folder / name).unlink()
    reported = refuses(project, f"scripts/{stage}.py", message=f"{name} must exist; found no such file")
    assert "run" in reported
    count(f"vanished_inputs.{stage}")


@pytest.mark.parametrize(
    "name", ["schema.json", "train.pt", "val.pt", "preprocessor.json"], ids=lambda name: str(name)
)
def test_an_input_of_training_is_gone(
    name: str, project: Project, refuses: Callable[..., str], count: Callable[..., None]
) -> None:
    (project.folder / "data/processed" / name).unlink()
    refuses(project, *SMALL, message=f"{name} must exist; found no such file")
    count("vanished_inputs.training")


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("evaluate", "models/trained/checkpoints/best.ckpt"),
        ("evaluate", "models/trained/schema.json"),
        ("evaluate", "data/processed/test.pt"),
        ("evaluate", "models/trained/config.yaml"),
        ("export", "models/trained/checkpoints/best.ckpt"),
        ("export", "models/trained/preprocessor.json"),
        ("export", "data/raw/covtype.csv"),
        ("export", "data/interim/split.csv"),
        ("export", "data/processed/test.pt"),
        ("export", "reports/metrics.json"),
        ("compress", "models/trained/checkpoints/best.ckpt"),
        ("compress", "models/canopy/model.onnx"),
        ("compress", "data/raw/covtype.csv"),
        ("compress", "data/interim/split.csv"),
        ("compress", "data/processed/train.pt"),
        ("compress", "data/processed/val.pt"),
        ("predict", "models/canopy/model.onnx"),
        ("predict", "models/canopy/model.json"),
        ("predict", "data/raw/covtype.csv"),
    ],
)
def test_an_input_of_what_uses_a_model_is_gone(
    command: str, name: str, trained_project: Project, refuses: Callable[..., str], count: Callable[..., None]
) -> None:
    (trained_project.folder / name).unlink()
    last = Path(name).name
    refuses(
        trained_project, *USES[command], message=f"{last} must exist|must hold {last}|{last}.* must exist"
    )
    count(f"vanished_inputs.{command}")


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "name"),
    [("evaluate", "reports"), ("export", "models"), ("compress", "models"), ("predict", "reports")],
)
@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_what_uses_a_model_cannot_write(
    kind: str,
    command: str,
    name: str,
    trained_project: Project,
    read_only: Callable[..., Any],
    on_small_disk: Callable[..., Any],
    refuses: Callable[..., str],
    count: Callable[..., None],
) -> None:
    project = trained_project
    if kind == "full":
        with on_small_disk(project, name, 4):
            refuses(project, *USES[command], message="must be writable; got No space left")
        count(f"full_disks.{command}")
        return
    folder = project.folder / name
    with read_only(folder):
        refuses(project, *USES[command], message="must be writable; got Read-only file system")
    count(f"read_only_folders.{command}")


@pytest.mark.long
def test_training_on_a_full_disk_goes_on_when_there_is_room(
    project: Project, mounted: Callable[..., Any], refuses: Callable[..., str], count: Callable[..., None]
) -> None:
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
    (made,) = expected.folder.glob("logs/train/runs/*")
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file()) // 1024
    # Room for a checkpoint, not for two and the next one.
    with mounted(logs, "-t", "tmpfs", "-o", f"size={size * 6 // 10}k", "tmpfs"):
        refuses(project, *options, message="must be writable; got No space left|No space left on device")
        (run,) = logs.glob("train/runs/*")
        assert not [*run.rglob("*.tmp")]
        shutil.copytree(run, project.folder / "saved")
    done = project.run("src/train.py", "resume=saved")
    assert done.code == 0
    count("full_disks.training")
