"""Engines: the same bytes by any number of processes or workers; errors, warnings, kills."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv
import pytest
from omegaconf import DictConfig, OmegaConf

from canopy.data.dataset import load_rows
from canopy.engines import Local, require_cluster
from canopy.files import sha256
from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split
from canopy.prepare.interim import new_table, part_paths
from canopy.prepare.reductions import row_numbers
from canopy.prepare.shards import Layout, PieceWriter, piece_name
from canopy.schema.tensors import SCHEMA_FILE, Schema
from engine_calls import fail_from_two, kill_itself
from packages import ROOT, free_port
from ray_nodes import needs_ray, ray_cluster
from sweep_app import RAY

STAGES = (drop_columns, split, normalize, cap_classes, make_tensors)
N_FILES = 5
ENVIRONMENT = {**os.environ, **RAY, "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture
def files(small_params: DictConfig, raw_table: Path, tmp_path: Path) -> DictConfig:
    """The small table in files of different lengths; its tensors take two shards or more."""
    table, start = pa.csv.read_csv(raw_table), 0
    folder = tmp_path / "files"
    folder.mkdir()
    for index in range(N_FILES):
        n_rows = len(table) - start if index == N_FILES - 1 else 5 + 7 * index
        pa.csv.write_csv(table.slice(start, n_rows), folder / f"{index}.csv")
        start += n_rows
    small_params.paths.raw = str(folder)
    methods = [("weight", "quantile_normal"), ("*", "z_score")]
    small_params.normalize.methods = [{"columns": [name], "method": method} for name, method in methods]
    small_params.make_tensors.shard_mib = 0.0004
    return small_params


PREPARE = """
import sys
from omegaconf import OmegaConf
from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split

for stage in (drop_columns, split, normalize, cap_classes, make_tensors):
    stage.run(OmegaConf.load(sys.argv[1]))
"""


def hashes(params: DictConfig, folder: Path, **engine: Any) -> dict[str, str]:
    """Prepare the table by an engine; gives the hash of each file that the stages wrote."""
    params = params.copy()
    for key in ("interim", "processed", "reports"):
        params.paths[key] = str(folder / key)
    params.engine = {"_target_": "canopy.engines.Local", **engine}
    if "n_processes" in engine:
        for stage in STAGES:
            stage.run(params)
    else:
        # Ray ends a process whose connections are too slow.
        OmegaConf.save(params, path := folder.with_suffix(".yaml"))
        subprocess.run([sys.executable, "-c", PREPARE, path], env=ENVIRONMENT, check=True)
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("shuffle", [False, True])
def test_processes_write_the_same_bytes(files: DictConfig, tmp_path: Path, *, shuffle: bool) -> None:
    files.make_tensors.shuffle = shuffle
    expected, *others = (hashes(files, tmp_path / str(n), n_processes=n) for n in (1, 2, 4))
    assert [found == expected for found in others] == [True, True]
    schema = Schema.load(tmp_path / "1/processed" / SCHEMA_FILE)
    assert min(map(len, schema.shards.values())) > 1
    assert all(sum(sizes) == sum(schema.class_counts[split]) for split, sizes in schema.shards.items())


def test_only_training_rows_are_shuffled(files: DictConfig, tmp_path: Path) -> None:
    """Exports, explanations and keys find validation and test rows in the raw table by their order."""
    ordered = hashes(files, tmp_path / "ordered", n_processes=1)
    # The training rows take several shards.
    files.make_tensors.shuffle = None
    mixed = hashes(files, tmp_path / "mixed", n_processes=1)
    assert {name: mixed[name] for name in ordered if Path(name).parent.name in ("val", "test")} == {
        name: found for name, found in ordered.items() if Path(name).parent.name in ("val", "test")
    }
    rows = []
    for name in ("ordered", "mixed"):
        schema = Schema.load((folder := tmp_path / name / "processed") / SCHEMA_FILE)
        batch = load_rows(folder, "train", schema).rows
        rows.append([*zip(*(item.tolist() for item in batch[:3]), strict=True)])
    assert sorted(rows[0]) == sorted(rows[1])
    assert rows[0] != rows[1]


def test_a_full_disk_is_told_when_pieces_are_written(tmp_path: Path) -> None:
    kind = np.dtype([("labels", np.int64)])
    layout = Layout(record=kind, seed=0, shuffle=False, n_rows={"train": 2}, shard_bytes=100)
    (tmp_path / piece_name("train", 0)).symlink_to("/dev/full")
    writer = PieceWriter(layout, tmp_path)
    with pytest.raises(OSError, match="No space left") as caught:
        writer.write("train", row_numbers(0, 0, 2), {"labels": [0, 1]})
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("left", [(), (0, 2)])
def test_a_missing_part_is_told(tmp_path: Path, left: tuple[int, ...]) -> None:
    path = tmp_path / "split.csv"
    with new_table(path, 3) as parts:
        for index in left:
            parts[index].touch()
    with pytest.raises(ValueError, match=r"split.csv must hold a file for each .*; found no 0000[01].csv"):
        part_paths(path)


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("shuffle", [False, True])
def test_ray_writes_the_same_bytes(files: DictConfig, tmp_path: Path, *, shuffle: bool) -> None:
    files.make_tensors.shuffle = shuffle
    expected = hashes(files, tmp_path / "local", n_processes=1)
    for n in (1, 2, 4):
        assert hashes(files, tmp_path / f"ray{n}", _target_="canopy.engines.Ray", n_workers=n) == expected


SQUARES = """
import sys, time
from pathlib import Path
from canopy.engines import Ray

def square(number):
    time.sleep(1)
    return number ** int(Path("power").read_text())

for number in Ray(sys.argv[1]).map(square, range(8)):
    print("=", number, flush=True)
"""


@pytest.mark.slow
@needs_ray
def test_calls_of_a_killed_node_are_done_by_another_in_the_folder_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "power").write_text("2")
    with ray_cluster() as (address, nodes):
        words = [sys.executable, "-c", SQUARES, address]
        given: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
        with subprocess.Popen(words, cwd=tmp_path, **given) as command:
            assert command.stdout is not None
            first = command.stdout.readline()
            nodes[1].kill()
            # Ray logs the loss of the node there, too.
            found = [line for line in (first, *command.stdout) if line.startswith("=")]
    assert found == [f"= {number**2}\n" for number in range(8)]
    assert command.returncode == 0


def test_a_cluster_that_does_not_answer_is_told_at_once() -> None:
    with pytest.raises(ConnectionError, match=r"A Ray cluster must run at 127.0.0.1:\d+; got .*refused"):
        require_cluster(f"127.0.0.1:{free_port()}")


def test_first_error_and_warnings_arrive(caplog: pytest.LogCaptureFixture) -> None:
    results = Local(2).map(fail_from_two, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="^no 2$"):
        next(results)
    assert caplog.messages[:3] == ["part 0", "part 1", "part 2"]


FAIL = """
import logging
from canopy.engines import Ray

def fail(number):
    logging.getLogger("canopy.test").warning("part %d", number)
    if number > 1:
        raise ValueError(f"no {number}")
    return number

list(Ray(n_workers=2).map(fail, range(5)))
"""


@pytest.mark.slow
@needs_ray
def test_first_error_and_warnings_arrive_from_ray() -> None:
    words = [sys.executable, "-c", FAIL]
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert re.findall("^part .|^ValueError: .*", done.stderr, re.MULTILINE) == [
        *("part 0", "part 1", "part 2", "ValueError: no 2")
    ]


def test_a_killed_process_is_told() -> None:
    with pytest.raises(ChildProcessError, match="^Each of 2 processes must live until its files are done"):
        list(Local(2).map(kill_itself, range(3)))


WAIT = """
import time, sys
from canopy.engines import Local
from engine_calls import say_pid
if __name__ == "__main__":
    list(Local(2).map(say_pid, range(2)))
"""


def test_processes_end_with_their_command(tmp_path: Path) -> None:
    script = tmp_path / "wait.py"
    script.write_text(WAIT)
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment
    ) as command:
        assert command.stdout is not None
        workers = [psutil.Process(int(command.stdout.readline())) for _ in range(2)]
        command.kill()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


@pytest.mark.parametrize("number", [0, -1, 1.5, "two"])
def test_invalid_numbers_are_refused(number: Any) -> None:
    with pytest.raises(ValueError, match=f"engine.n_processes must be .* got {number!r}"):
        Local(number)
