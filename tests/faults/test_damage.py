"""Files that were cut off or have a bit flipped: found out before anything is made of them."""

import random
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from faults.project import SMALL, USES, Project

pytestmark = pytest.mark.faults

PREDICT_RUN = ("src/predict.py", "run=models/trained", *USES["predict"][2:])
N_FLIPS = 3


def cut_off(path: Path, generator: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: generator.randrange(1, len(content) - 1)])


def empty(path: Path, generator: random.Random) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path, generator: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def zero_a_page(path: Path, generator: random.Random) -> None:
    """What a crash of the machine may leave of a page that was not written yet."""
    content = bytearray(path.read_bytes())
    start = generator.randrange(max(1, len(content) - 4096))
    content[start : start + 4096] = bytes(len(content[start : start + 4096]))
    path.write_bytes(content)


def flip_in_a_record(path: Path, generator: random.Random) -> None:
    """Flip a bit of what an archive holds: between its records, where nobody reads, it would do no harm."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        record = max(archive.infolist(), key=lambda info: info.file_size)
    # The header in the file has 30 bytes, then the name and padding, of the lengths that it ends with.
    header = content[record.header_offset : record.header_offset + 30]
    start = record.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
    content[start + generator.randrange(record.file_size)] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


CHECKPOINT_DAMAGES = {
    "cut off": cut_off,
    "empty": empty,
    "a bit flipped": flip_in_a_record,
    "a page of zeros": zero_a_page,
}
DAMAGES = {"cut off": cut_off, "empty": empty, "a bit flipped": flip_a_bit, "a page of zeros": zero_a_page}


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, damage) for name in ("train.pt", "val.pt") for damage in DAMAGES),
        # A flipped bit may give another schema, which only DVC can tell.
        *(("schema.json", damage) for damage in DAMAGES if damage != "a bit flipped"),
    ],
)
def test_damaged_tensors_do_not_train(
    name: str, damage: str, project: Project, refuses: Callable[..., str], count: Callable[..., None]
) -> None:
    path = project.folder / "data/processed" / name
    whole = path.read_bytes()
    for seed in range(N_FLIPS if damage == "a bit flipped" else 1):
        path.write_bytes(whole)
        DAMAGES[damage](path, random.Random(f"{name} {damage} {seed}"))
        refuses(project, *SMALL, message=f"{name} must")
        count("corrupted.tensors" if name.endswith(".pt") else "corrupted.schema")


@pytest.mark.long
@pytest.mark.parametrize("damage", CHECKPOINT_DAMAGES)
@pytest.mark.parametrize(
    "command",
    [USES["evaluate"], USES["export"], USES["compress"], PREDICT_RUN],
    ids=["evaluate", "export", "compress", "predict"],
)
def test_a_damaged_checkpoint_is_not_used(
    command: tuple[str, ...],
    damage: str,
    trained_project: Project,
    refuses: Callable[..., str],
    count: Callable[..., None],
) -> None:
    path = trained_project.folder / "models/trained/checkpoints/best.ckpt"
    whole = path.read_bytes()
    for seed in range(N_FLIPS if damage == "a bit flipped" else 1):
        path.write_bytes(whole)
        CHECKPOINT_DAMAGES[damage](path, random.Random(f"checkpoint {damage} {seed}"))
        refuses(trained_project, *command, message="best.ckpt must")
        count("corrupted.checkpoints")


@pytest.mark.long
@pytest.mark.parametrize("damage", CHECKPOINT_DAMAGES)
def test_a_run_does_not_go_on_from_a_damaged_checkpoint(
    damage: str, trained_project: Project, refuses: Callable[..., str], count: Callable[..., None]
) -> None:
    project = trained_project
    (run,) = project.folder.glob("logs/train/runs/*")
    path = run / "checkpoints/last.ckpt"
    CHECKPOINT_DAMAGES[damage](path, random.Random(f"last checkpoint {damage}"))
    refuses(project, "src/train.py", f"resume={run}", "trainer.max_epochs=3", message="last.ckpt must")
    count("corrupted.checkpoints")


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
@pytest.mark.parametrize("command", ["compress", "predict"])
def test_a_damaged_bundle_is_not_used(
    command: str,
    name: str,
    damage: str,
    trained_project: Project,
    refuses: Callable[..., str],
    count: Callable[..., None],
) -> None:
    path = trained_project.folder / "models/canopy" / name
    whole = path.read_bytes()
    for seed in range(N_FLIPS if damage == "a bit flipped" else 1):
        path.write_bytes(whole)
        DAMAGES[damage](path, random.Random(f"{name} {damage} {seed}"))
        refuses(trained_project, *USES[command], message=f"{name} must")
        count("corrupted.bundles")


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["metrics.json", "preprocessor.json", "schema.json", "run.json", "config.yaml"]
)
@pytest.mark.parametrize("damage", ["cut off", "empty", "a page of zeros"])
def test_a_damaged_description_of_a_run_is_not_exported(
    name: str, damage: str, trained_project: Project, refuses: Callable[..., str], count: Callable[..., None]
) -> None:
    folder = "reports" if name == "metrics.json" else "models/trained"
    DAMAGES[damage](trained_project.folder / folder / name, random.Random(f"{name} {damage}"))
    refuses(trained_project, *USES["export"], message=f"{name}|config")
    count("corrupted.descriptions of runs")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_raw_table_is_fetched_again_or_told(
    damage: str, project: Project, refuses: Callable[..., str], count: Callable[..., None]
) -> None:
    """A flipped bit gives another number, which only the hash can tell."""
    path = project.folder / "data/raw/covtype.csv"
    DAMAGES[damage](path, random.Random(f"raw {damage}"))
    refuses(project, "scripts/fetch.py", message="(?s)is there with the SHA-256 .*Place the file by hand")
    count("corrupted.raw tables")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_normalisation_makes_no_tensors_train(
    damage: str, project: Project, refuses: Callable[..., str], count: Callable[..., None]
) -> None:
    path = project.folder / "data/processed/preprocessor.json"
    DAMAGES[damage](path, random.Random(f"normalization {damage}"))
    refuses(project, *SMALL, message="preprocessor.json")
    count("corrupted.normalisations")


@pytest.mark.long
@pytest.mark.parametrize("damage", ["cut off", "text", "a page of zeros"])
def test_a_damaged_study_is_told(
    damage: str, project: Project, refuses: Callable[..., str], count: Callable[..., None]
) -> None:
    options = (
        *(
            *SMALL,
            "trainer.max_epochs=1",
            "-m",
            "hydra/sweeper=optuna",
            "model.optimizer.lr=choice(0.001,0.01)",
        ),
        *("hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1", "hydra.sweeper.direction=maximize"),
        *("hydra.sweeper.study_name=a", "hydra.sweeper.storage=sqlite:///logs/sweeps.db"),
    )
    project.run(*options)
    path = project.folder / "logs/sweeps.db"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    content = path.read_bytes()
    if damage == "cut off":
        path.write_bytes(content[: len(content) // 3])
    elif damage == "text":
        path.write_bytes(b"this is no database, but a text of some length\n" * 100)
    else:
        path.write_bytes(bytes(4096) + content[4096:])
    refuses(project, *options, message="storage|study|database", folders=("data", "logs/sweeps.db"))
    refuses(project, "src/sweep.py", "a", message="storage|study|database", folders=("data",))
    count("corrupted.studies", 2)
