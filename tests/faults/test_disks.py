"""A disk that is full, a folder that cannot be written, an input that is gone: an error, nothing changed."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.project import SMALL, STAGES, USES, Project, Refuses

pytestmark = pytest.mark.faults

Mount = Callable[..., AbstractContextManager[None]]
# Each stage and its inputs.
INPUTS = {
    "explore": ("data/raw/covtype.csv",),
    "drop_columns": ("data/raw/covtype.csv",),
    "split": ("data/interim/drop_columns.csv",),
    "normalize": ("data/interim/split.csv",),
    "cap_classes": ("data/interim/normalize.csv",),
    "make_tensors": (
        *("data/interim/cap_classes.csv", "reports/class_cap.json", "data/processed/preprocessor.json"),
    ),
    "training": tuple(
        f"data/processed/{name}" for name in ("schema.json", "train.pt", "val.pt", "preprocessor.json")
    ),
    "evaluate": (
        *("models/trained/checkpoints/best.ckpt", "models/trained/schema.json", "data/processed/test.pt"),
        "models/trained/config.yaml",
    ),
    "export": (
        *("models/trained/checkpoints/best.ckpt", "models/trained/preprocessor.json"),
        *("data/raw/covtype.csv", "data/interim/split.csv", "data/processed/test.pt", "reports/metrics.json"),
    ),
    "compress": (
        *("models/trained/checkpoints/best.ckpt", "models/canopy/model.onnx", "data/raw/covtype.csv"),
        *("data/interim/split.csv", "data/processed/train.pt", "data/processed/val.pt"),
    ),
    "predict": ("models/canopy/model.onnx", "models/canopy/model.json", "data/raw/covtype.csv"),
}
# Where each writes.
OUTPUTS = {
    **dict.fromkeys(STAGES, "data"),
    "explore": "reports",
    "evaluate": "reports",
    "export": "models",
    "compress": "models",
    "predict": "reports",
}


def command_of(name: str) -> tuple[str, ...]:
    # A seed of its own, so that a stage's outputs differ from those that are there.
    return SMALL if name == "training" else USES.get(name, (f"scripts/{name}.py", "seed=7"))


def by_command(table: dict[str, Any]) -> list[Any]:
    """Make a case of each command; those that need a trained model take long."""
    return [pytest.param(name, marks=pytest.mark.long if name in USES else ()) for name in table]


@pytest.fixture
def of_command(request: pytest.FixtureRequest) -> Callable[[str], Project]:
    """Give a project in which a command can run."""
    return lambda name: request.getfixturevalue("trained_project" if name in USES else "project")


@pytest.fixture
def on_small_disk(tmp_path: Path, mounted: Mount) -> Mount:
    """Put a folder on a file system with 4 KiB to spare, with what is in it."""

    @contextmanager
    def put(folder: Path) -> Any:
        kept = shutil.copytree(folder, tmp_path / "kept")
        # Each file takes whole pages of 4 KiB, folders none.
        n_pages = sum(-(-path.stat().st_size // 4096) for path in kept.rglob("*") if path.is_file())
        with mounted(folder, "-t", "tmpfs", "-o", f"size={(n_pages + 1) * 4}k", "tmpfs"):
            shutil.copytree(kept, folder, dirs_exist_ok=True)
            yield

    return put


@pytest.mark.parametrize("kind", ["full disk", "read-only folder"])
@pytest.mark.parametrize("name", by_command(OUTPUTS))
def test_command_cannot_write(
    name: str,
    kind: str,
    of_command: Callable[[str], Project],
    read_only: Mount,
    on_small_disk: Mount,
    refuses: Refuses,
) -> None:
    project = of_command(name)
    mount, reason = (
        (on_small_disk, "No space left") if kind == "full disk" else (read_only, "Read-only file system")
    )
    with mount(project.folder / OUTPUTS[name]):
        refuses(
            project,
            *command_of(name),
            message=f"must be writable; got {reason}",
        )
        assert project.left_behind() == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        pytest.param(name, path, marks=pytest.mark.long if name in USES else ())
        for name, paths in INPUTS.items()
        for path in paths
    ],
)
def test_input_is_gone(name: str, path: str, of_command: Callable[[str], Project], refuses: Refuses) -> None:
    project = of_command(name)
    (project.folder / path).unlink()
    last = Path(path).name
    message = f"{last} must exist; found no such file"
    if name in USES:
        message = f"{last} must exist|must hold {last}|{last}.* must exist"
    reported = refuses(project, *command_of(name), message=message)
    assert name not in STAGES or "run" in reported


@pytest.mark.long
def test_training_on_a_full_disk_resumes_when_there_is_room(
    project: Project, mounted: Mount, refuses: Refuses
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
        message = "must be writable; got No space left|No space left on device"
        refuses(project, *options, message=message)
        (run,) = logs.glob("train/runs/*")
        assert not [*run.rglob("*.tmp")]
        shutil.copytree(run, project.folder / "saved")
    project.run("src/train.py", "resume=saved")
