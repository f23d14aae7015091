"""Files that were cut off or have a bit flipped: found out before anything is made of them."""

import json
import random
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from faults.project import PREDICT, SMALL, SWEEP, USES, Project

pytestmark = pytest.mark.faults

PREDICT_RUN = ("src/predict.py", "run=models/trained", *PREDICT)
SERVE = ("src/serve.py", "bundle=models/canopy")
RESUME = ("src/train.py", "resume={run}", "trainer.max_epochs=3")
STUDY = (*SWEEP, "trainer.max_epochs=1", "model.optimizer.lr=choice(0.001,0.01)", "hydra.sweeper.n_trials=1")
N_FLIPS = 3
FLIP = "a bit flipped"
NULLS = "nulls"
CONTENTS = {"empty": b"", "a list": b"[]", "no keys": b"{}"}
DAMAGES = ("cut off", *CONTENTS, NULLS, FLIP, "a page of zeros")


def damage_file(path: Path, damage: str, generator: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if damage == "cut off":
        del content[generator.randrange(1, len(content) - 1) :]
    elif damage in CONTENTS:
        content[:] = CONTENTS[damage]
    elif damage == NULLS:
        content[:] = json.dumps(dict.fromkeys(json.loads(content))).encode()
    elif damage == FLIP:
        start, size = largest_record(path) if path.suffix == ".ckpt" else (0, len(content))
        content[start + generator.randrange(size)] ^= 1 << generator.randrange(8)
    else:
        # What a crash of the machine may leave of a page that was not written yet.
        start = generator.randrange(max(1, len(content) - 4096))
        content[start : start + 4096] = bytes(len(content[start : start + 4096]))
    path.write_bytes(content)


def largest_record(path: Path) -> tuple[int, int]:
    """Find the largest record of an archive; a flipped bit between records is not read and does no harm."""
    with zipfile.ZipFile(path) as archive:
        record = max(archive.infolist(), key=lambda info: info.file_size)
    # The header in the file has 30 bytes, then the name and padding, of the lengths that it ends with.
    lengths = path.read_bytes()[record.header_offset + 26 : record.header_offset + 30]
    return record.header_offset + 30 + sum(struct.unpack("<HH", lengths)), record.file_size


# Folder, files and the commands that read them; the message names the file.
HASHED = [
    ("data/processed", ["train/00000.pt", "val/00000.pt"], [SMALL]),
    ("models/trained/checkpoints", ["best.ckpt"], [*(USES[name] for name in USES if name != "predict")]),
    ("models/trained/checkpoints", ["best.ckpt"], [PREDICT_RUN]),
    ("logs/train/runs/*/checkpoints", ["last.ckpt"], [RESUME]),
    ("models/canopy", ["model.onnx", "model.json"], [USES["compress"], USES["predict"], SERVE]),
]
# A flipped bit may give another number, which only a hash can tell.
UNHASHED = [
    ("data/processed", ["schema.json"], [SMALL]),
    ("models/trained", ["preprocessor.json", "schema.json", "run.json", "config.yaml"], [USES["export"]]),
    ("reports", ["metrics.json"], [USES["export"]]),
    ("reports", ["class_cap.json"], [("scripts/make_tensors.py",)]),
]
QUICK = [
    ("data/raw", ["covtype.csv"], [("scripts/fetch.py",)]),
    ("data/processed", ["preprocessor.json"], [SMALL]),
]


@pytest.mark.parametrize(
    ("command", "folder", "name", "damage"),
    [
        pytest.param(*(command, folder, name, damage), id=f"{command[0]}-{name}-{damage}", marks=marks)
        for table, marks in ((HASHED, pytest.mark.long), (UNHASHED, pytest.mark.long), (QUICK, ()))
        for folder, names, commands in table
        for command in commands
        for name in names
        for damage in DAMAGES
        if (table is not UNHASHED or damage != FLIP) and (damage != NULLS or name.endswith(".json"))
    ],
)
def test_command_refuses_damaged_file(
    command: tuple[str, ...], folder: str, name: str, damage: str, project_for: Callable[[bool], Project]
) -> None:
    project = project_for(folder.startswith(("models", "logs", "reports")))
    (path,) = project.folder.glob(f"{folder}/{name}")
    command = tuple(word.format(run=path.parents[1]) for word in command)
    content = path.read_bytes()
    seeds = [f"{name} {damage} {i}" for i in range(N_FLIPS if damage == FLIP else 1)]
    message = f"{name} must" if folder != "models/trained" and name != "metrics.json" else name
    if name == "covtype.csv":
        message = "(?s)is there with the SHA-256 .*Place the file by hand"
    for seed in seeds:
        path.write_bytes(content)
        damage_file(path, damage, random.Random(seed))
        project.refuses(*command, message=message)


@pytest.mark.long
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[: len(content) // 3],
        lambda content: b"this is no database, but a text of some length\n" * 100,
        lambda content: bytes(4096) + content[4096:],
    ],
    ids=["cut off", "text", "a page of zeros"],
)
def test_commands_refuse_damaged_study(change: Callable[[bytes], bytes], project: Project) -> None:
    project.run(*STUDY)
    path = project.folder / "logs/sweeps.db"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    path.write_bytes(change(path.read_bytes()))
    message = "storage|study|database"
    project.refuses(*STUDY, message=message, folders=("data", "logs/sweeps.db"))
    project.refuses("src/sweep.py", "a", message=message, folders=("data",))
