"""Engines: the same bytes by any number of processes or workers; errors, warnings, kills."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.csv
import pytest
from omegaconf import DictConfig

from canopy.engines import Engine, Local, Ray
from canopy.files import sha256
from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split
from canopy.schema.tensors import SCHEMA_FILE, Schema
from packages import ROOT
from ray_nodes import needs_ray, ray_cluster
from sweep_app import RAY

STAGES = (drop_columns, split, normalize, cap_classes, make_tensors)
N_FILES = 5


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


def hashes(params: DictConfig, folder: Path, engine: Callable[..., Engine], n: int) -> dict[str, str]:
    """Prepare the table by an engine; gives the hash of each file that the stages wrote."""
    params = params.copy()
    for key in ("interim", "processed", "reports"):
        params.paths[key] = str(folder / key)
    key = "n_processes" if engine is Local else "n_workers"
    params.engine = {"_target_": f"canopy.engines.{engine.__name__}", key: n}
    for stage in STAGES:
        stage.run(params)
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("shuffle", [False, True])
def test_processes_write_the_same_bytes(files: DictConfig, tmp_path: Path, *, shuffle: bool) -> None:
    files.make_tensors.shuffle = shuffle
    expected, *others = (hashes(files, tmp_path / str(n), Local, n) for n in (1, 2, 4))
    assert [found == expected for found in others] == [True, True]
    schema = Schema.load(tmp_path / "1/processed" / SCHEMA_FILE)
    assert min(map(len, schema.shards.values())) > 1
    assert all(sum(sizes) == sum(schema.class_counts[split]) for split, sizes in schema.shards.items())


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("shuffle", [False, True])
def test_ray_writes_the_same_bytes(files: DictConfig, tmp_path: Path, *, shuffle: bool) -> None:
    import ray

    files.make_tensors.shuffle = shuffle
    expected = hashes(files, tmp_path / "local", Local, 1)
    for n in (1, 2, 4):
        try:
            assert hashes(files, tmp_path / f"ray{n}", Ray, n) == expected
        finally:
            ray.shutdown()


SQUARES = """
import sys, time
from canopy.engines import Ray

def square(number):
    time.sleep(1)
    return number**2

for number in Ray(sys.argv[1]).map(square, range(8)):
    print("=", number, flush=True)
"""


@pytest.mark.slow
@needs_ray
def test_calls_of_a_killed_node_are_done_by_another() -> None:
    environment = {**os.environ, **RAY, "PYTHONPATH": str(ROOT / "src")}
    with ray_cluster() as (address, nodes):
        words = [sys.executable, "-c", SQUARES, address]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as command:
            assert command.stdout is not None
            first = command.stdout.readline()
            nodes[1].kill()
            # Ray tells of the node there.
            found = [line for line in (first, *command.stdout) if line.startswith("=")]
    assert found == [f"= {number**2}\n" for number in range(8)]
    assert command.returncode == 0


MANY_MAPS = """
from canopy.engines import Ray

def reciprocal(number):
    return 1 / number

engine = Ray(n_workers=2)
for n in range(100):
    assert [*engine.map(reciprocal, (1, 2, 4))] == [1, 0.5, 0.25]
    try:
        assert [*engine.map(reciprocal, (1, 0, 2, 4))] == n
    except ZeroDivisionError:
        print("=", n, flush=True)
"""


@pytest.mark.slow
@needs_ray
def test_ray_ends_no_process_that_has_its_results() -> None:
    environment = {**os.environ, **RAY, "PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, "-c", MANY_MAPS]
    found = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert (found.returncode, found.stdout.count("=")) == (0, 100)


def fail_from_two(number: int) -> int:
    logging.getLogger("canopy.test").warning("part %d", number)
    if number > 1:
        raise ValueError(f"no {number}")
    return number


def kill_itself(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL if number == 1 else 0)


@pytest.mark.parametrize(
    "engine",
    [lambda: Local(2), pytest.param(lambda: Ray(n_workers=2), marks=(pytest.mark.slow, needs_ray))],
)
def test_first_error_and_warnings_arrive(
    engine: Callable[[], Engine], caplog: pytest.LogCaptureFixture
) -> None:
    results = engine().map(fail_from_two, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="^no 2$"):
        next(results)
    assert caplog.messages[:3] == ["part 0", "part 1", "part 2"]


def test_a_killed_process_is_told() -> None:
    with pytest.raises(ChildProcessError, match="^Each of 2 processes must live until its files are done"):
        list(Local(2).map(kill_itself, range(3)))


WAIT = """
import time, sys
sys.path[:0] = [{folder!r}]
from canopy.engines import Local
from test_engines import say_pid
if __name__ == "__main__":
    list(Local(2).map(say_pid, range(2)))
"""


def say_pid(_: int) -> None:
    print(os.getpid(), flush=True)  # noqa: T201 - read by the test
    time.sleep(60)


def test_processes_end_with_their_command(tmp_path: Path) -> None:
    script = tmp_path / "wait.py"
    script.write_text(WAIT.format(folder=str(Path(__file__).parent)))
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
