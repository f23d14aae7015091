import csv
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from canopy.runs.run import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("wandb") is None, reason='pip install --editable ".[wandb]"'),
]
HEADER, BLOCK = 7, 32768


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def records(path: Path) -> Iterator[Any]:
    """Read the messages of a run's file, a log of LevelDB: blocks of parts with CRC, length and kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, message = path.read_bytes(), HEADER, b""
    assert content.startswith(b":W&B")
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        place += HEADER
        message += content[place : place + length]
        place += length
        # Whole, or the last part of it.
        if kind in (1, 4):
            yield Record.FromString(message)
            message = b""


def files(folder: Path) -> list[list[Any]]:
    return [[*records(path)] for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]


def items(messages: list[Any], kind: str) -> list[dict[str, Any]]:
    found = [getattr(item, kind) for item in messages if item.WhichOneof("record_type") == kind]
    lists = [item.item if kind == "history" else item.update for item in found]
    return [
        {"/".join(one.nested_key) or one.key: json.loads(one.value_json) for one in some} for some in lists
    ]


def test_a_killed_run_continues_in_its_tracked_run(command: Any) -> None:
    command.kill_and_resume("logger=[default,wandb]", "seed=7")
    run, (first, second) = Run(command.folder), files(command.folder)
    ids = {item.run.run_id for item in [*first, *second] if item.WhichOneof("record_type") == "run"}
    assert run.record["trackers"] == {"logger.wandb": {"id": ids.pop()}}
    assert not ids
    config: dict[str, Any] = {}
    for update in items(first, "config"):
        config |= update
    assert (config["seed"], config["trainer"]["max_epochs"]) == (7, 12)
    assert config["tags"]["run_folder"] == str(command.folder)
    steps = {
        row["trainer/global_step"]: row["val/nll"]
        for row in [*items(first, "history"), *items(second, "history")]
        if "val/nll" in row
    }
    with (command.folder / "csv/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/nll"]]
    assert steps == {int(row["step"]): float(row["val/nll"]) for row in rows}
    scores = [row["best/accuracy"] for row in items(second, "history") if "best/accuracy" in row]
    assert scores == [run.record["best"]["score"]]
    assert [*command.folder.glob("wandb/*/files/media/images/confusion_matrix/*.png")]


def test_runs_of_a_multirun_are_a_group(command: Any, tmp_path: Path) -> None:
    options = (f"hydra.sweep.dir={tmp_path}/seeds", "trainer.max_epochs=1", "logger=[default,wandb]")
    command.run("-m", "seed=0,1", *options)
    found = [
        next(item.run for item in messages if item.WhichOneof("record_type") == "run")
        for folder in sorted(tmp_path.glob("seeds/*/"))
        for messages in files(folder)
    ]
    assert len({run.run_id for run in found}) == 2
    assert [run.run_group for run in found] == ["seeds", "seeds"]
