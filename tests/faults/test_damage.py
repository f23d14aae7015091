"""Files that were cut off or have a bit flipped: found out before anything is made of them."""

import random
import sqlite3
import struct
import zipfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from faults.project import SMALL, USES, Project, Refuses

pytestmark = pytest.mark.faults

PREDICT_RUN = ("src/predict.py", "run=models/trained", *USES["predict"][2:])
SWEEP = (
    *(*SMALL, "trainer.max_epochs=1", "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1"),
    *("model.optimizer.lr=choice(0.001,0.01)", "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=a"),
    *("hydra.sweeper.direction=maximize", "hydra.sweeper.storage=sqlite:///logs/sweeps.db"),
)
N_FLIPS = 3


def cut_off(content: bytearray, generator: random.Random) -> None:
    del content[generator.randrange(1, len(content) - 1) :]


def empty(content: bytearray, generator: random.Random) -> None:
    content.clear()


def zero_a_page(content: bytearray, generator: random.Random) -> None:
    """What a crash of the machine may leave of a page that was not written yet."""
    start = generator.randrange(max(1, len(content) - 4096))
    content[start : start + 4096] = bytes(len(content[start : start + 4096]))


def flip_a_bit(content: bytearray, generator: random.Random) -> None:
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)


def flip_a_bit_of_a_record(content: bytearray, path: Path, generator: random.Random) -> None:
    """Flip a bit of what an archive holds: between its records, where nobody reads, it would do no harm."""
    with zipfile.ZipFile(path) as archive:
        record = max(archive.infolist(), key=lambda info: info.file_size)
    # The header in the file has 30 bytes, then the name and padding, of the lengths that it ends with.
    header = content[record.header_offset : record.header_offset + 30]
    start = record.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
    content[start + generator.randrange(record.file_size)] ^= 1 << generator.randrange(8)


FLIP = "a bit flipped"
DAMAGES = {"cut off": cut_off, "empty": empty, FLIP: flip_a_bit, "a page of zeros": zero_a_page}
# A flipped bit may give another number, which only a hash can tell.
WITHOUT_FLIP = [damage for damage in DAMAGES if damage != FLIP]


def damage_file(path: Path, damage: str, generator: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if damage == FLIP and path.suffix == ".ckpt":
        flip_a_bit_of_a_record(content, path, generator)
    else:
        DAMAGES[damage](content, generator)
    path.write_bytes(content)


def damaged(
    folder: str,
    names: Iterable[str],
    *commands: tuple[str, ...],
    damages: Iterable[str] = DAMAGES,
    **options: Any,
) -> list[Any]:
    """Make the cases of files that commands read; `message` is by default what the file must be."""
    marks = pytest.mark.long if options.get("long", True) else ()
    return [
        pytest.param(
            *(command, f"{folder}/{name}", damage, options.get("message", f"{name} must")),
            id=f"{command[0]}-{name}-{damage}",
            marks=marks,
        )
        for command in commands
        for name in names
        for damage in damages
    ]


@pytest.mark.parametrize(
    ("command", "name", "damage", "message"),
    [
        *damaged("data/processed", ["train.pt", "val.pt"], SMALL),
        *damaged("data/processed", ["schema.json"], SMALL, damages=WITHOUT_FLIP),
        *damaged(
            *("models/trained/checkpoints", ["best.ckpt"]),
            *(USES["evaluate"], USES["export"], USES["compress"], PREDICT_RUN),
        ),
        *damaged(
            *("logs/train/runs/*/checkpoints", ["last.ckpt"]),
            ("src/train.py", "resume=logs/train/runs/*", "trainer.max_epochs=3"),
        ),
        *damaged(
            *("models/canopy", ["model.onnx", "model.json"], USES["compress"], USES["predict"]),
        ),
        *damaged(
            *("models/trained", ["preprocessor.json", "schema.json", "run.json", "config.yaml"]),
            USES["export"],
            damages=WITHOUT_FLIP,
            message="json|config",
        ),
        *damaged(
            *("reports", ["metrics.json"], USES["export"]),
            damages=WITHOUT_FLIP,
            message="metrics.json",
        ),
        *damaged(
            *("data/raw", ["covtype.csv"], ("scripts/fetch.py",)),
            message="(?s)is there with the SHA-256 .*Place the file by hand",
            long=False,
        ),
        *damaged(
            *("data/processed", ["preprocessor.json"], SMALL),
            message="preprocessor.json",
            long=False,
        ),
    ],
)
def test_command_refuses_damaged_file(
    command: tuple[str, ...],
    name: str,
    damage: str,
    message: str,
    request: pytest.FixtureRequest,
    refuses: Refuses,
) -> None:
    is_trained = name.startswith(("models", "logs", "reports"))
    project: Project = request.getfixturevalue("trained_project" if is_trained else "project")
    (path,) = project.folder.glob(name)
    (run,) = [*project.folder.glob("logs/train/runs/*")] or [project.folder]
    command = tuple(word.replace("logs/train/runs/*", str(run)) for word in command)
    content = path.read_bytes()
    seeds = [f"{path.name} {damage} {i}" for i in range(N_FLIPS if damage == FLIP else 1)]
    if path.name == "preprocessor.json" and name.startswith("data"):
        # One bit, which is not of a number: of those only DVC can tell.
        seeds = [f"normalization {damage}"]
    for seed in seeds:
        path.write_bytes(content)
        damage_file(path, damage, random.Random(seed))
        refuses(project, *command, message=message)


@pytest.mark.long
@pytest.mark.parametrize("damage", ["cut off", "text", "a page of zeros"])
def test_commands_refuse_damaged_study(damage: str, project: Project, refuses: Refuses) -> None:
    project.run(*SWEEP)
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
    expected = {"message": "storage|study|database"}
    refuses(project, *SWEEP, **expected, folders=("data", "logs/sweeps.db"))
    refuses(project, "src/sweep.py", "a", **expected, folders=("data",))
