"""Rows per second of the preparation of many files in little memory, and of one file without a limit.

The files are copies of the raw table with noise. The limit is that of a control group, which root may make:
of all processes together, and of what the system keeps of their files.

python benchmarks/many_files.py --files 200     (after `make repro`; an hour and 40 GB of disk)
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from common import ROOT, parse, write
from omegaconf import DictConfig, OmegaConf
from preparation import noisy

from canopy.prepare.interim import table_schema

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OPTIONS: dict[str, dict[str, Any]] = {
    "files": {"type": int, "default": 200},
    "format": {"choices": ["parquet", "csv"], "default": "parquet"},
    "limit": {"type": float, "default": 2.0, "help": "GiB of memory"},
    "folder": {"type": Path, "default": ROOT / "data/many_files"},
    "options": {"default": "", "help": "further options of scripts/prepare.py, such as engine=ray"},
}


def main() -> None:
    arguments = parse(__doc__, **OPTIONS)
    params = OmegaConf.load(ROOT / "params.yaml")
    assert isinstance(params, DictConfig)
    n_files = 3 if arguments.quick else arguments.files
    files = arguments.folder / f"{arguments.format}_{n_files}"
    n_rows = make_files(files, n_files, arguments.format, params)
    words = [*arguments.options.split(), f"++table.file.format={arguments.format}", "paths.format=parquet"]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        one = prepare(next(iter(sorted(files.iterdir()))), Path(folder, "one"), words)
        with memory_limit(int(arguments.limit * 2**30)) as group:
            many = prepare(files, Path(folder, "many"), words, group=group)
            peak = int((group / peak_file(group)).read_text()) / 2**20
        schema = json.loads(Path(folder, "many/processed/schema.json").read_text())
    result = {
        "format": arguments.format,
        "options": arguments.options,
        "files": n_files,
        "rows": n_rows,
        "seconds": round(many, 1),
        "rows_per_second": round(n_rows / many),
        "rows_per_second_of_one_file": round(n_rows / n_files / one),
        "ratio": round(n_rows / many / (n_rows / n_files / one), 2),
        "limit_mib": round(arguments.limit * 1024),
        "peak_mib": round(peak),
        "shards": {split: len(sizes) for split, sizes in schema["shards"].items()},
    }
    print(json.dumps(result, indent=2))
    write(f"many_files_{arguments.format}", [result], arguments)


def make_files(folder: Path, n_files: int, kind: str, params: DictConfig) -> int:
    """Write copies of the raw table, the first without noise, unless they are there; gives their rows."""
    table, schema = pacsv.read_csv(ROOT / params.paths.raw), table_schema(params)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(n_files):
        if (path := folder / f"{index:05d}.{kind}").is_file():
            continue
        rows = noisy(table, schema, np.random.default_rng(index)) if index else table
        temporary = folder / f"_{path.name}"
        (pq.write_table if kind == "parquet" else pacsv.write_csv)(rows, temporary)
        temporary.rename(path)
    return n_files * len(table)


def prepare(raw: Path, folder: Path, words: list[str], *, group: Path | None = None) -> float:
    """Run the five stages; gives the seconds that they took."""
    command = [sys.executable, "scripts/prepare.py", "preparation=uncapped", f"paths.raw={raw}"]
    command += [f"paths.{key}={folder}/{key}" for key in ("interim", "processed", "reports")]
    command += [*words, f"hydra.run.dir={folder}/log"]

    def join() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, preexec_fn=join)
    return time.perf_counter() - started


@contextmanager
def memory_limit(n_bytes: int) -> Iterator[Path]:
    """Make a control group whose processes may take so much memory together."""
    is_second = (CONTROL_GROUPS / "cgroup.controllers").is_file()
    group = CONTROL_GROUPS / ("" if is_second else "memory") / f"canopy-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.max" if is_second else "memory.limit_in_bytes")).write_text(str(n_bytes))
        yield group
    finally:
        # Processes that others are started from end a moment after their command.
        while (group / "cgroup.procs").read_text():
            time.sleep(0.1)
        group.rmdir()


def peak_file(group: Path) -> str:
    return "memory.peak" if (group / "memory.peak").is_file() else "memory.max_usage_in_bytes"


if __name__ == "__main__":
    main()
