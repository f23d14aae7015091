"""Seconds and memory of each stage and of an epoch, for the table and for 3 and 10 copies of it with noise.

Each stage has its floor: what Arrow needs to read the stage's input and to write its outputs as
they are. The exponent says how time grows with the rows: 1 is linear.

python benchmarks/preparation.py     (after `make repro`; 20 minutes and 12 GB of disk)
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from common import ROOT, median, parse, write
from omegaconf import DictConfig, OmegaConf

from canopy.prepare.interim import table_schema
from canopy.schema import TableSchema

# Each stage and the tables that it reads.
STAGES = {
    "explore": ("raw.csv",),
    "drop_columns": ("raw.csv",),
    "split": ("interim/drop_columns.csv",),
    "normalize": ("interim/drop_columns.csv", "interim/split.csv"),
    "cap_classes": ("interim/normalize.csv",),
    "make_tensors": ("interim/cap_classes.csv",),
}
FACTORS = (1, 3, 10)
N_ROUNDS = 3
TRAIN = ["trainer=cpu", "trainer.max_epochs=1", "callbacks.progress_bar=null"]


# A process begins with the peak of the one that started it: a small one does.
LAUNCH = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Cost(NamedTuple):
    """What a process took."""

    seconds: float
    peak_mib: float


def main() -> None:
    arguments = parse(__doc__)
    params = OmegaConf.load(ROOT / "params.yaml")
    assert isinstance(params, DictConfig)
    schema = table_schema(params)
    costs: dict[tuple[int, str], list[dict[str, float]]] = {}
    # In rounds over the sizes: a machine that slows down for a while then slows all sizes down, not one.
    for _ in range(1 if arguments.quick else N_ROUNDS):
        for factor in FACTORS[:1] if arguments.quick else FACTORS:
            with tempfile.TemporaryDirectory(dir=ROOT / "data") as name:
                folder = Path(name)
                n_rows = repeat(ROOT / params.paths.raw, folder / "raw.csv", factor, schema)
                overrides = [
                    f"paths.raw={folder}/raw.csv",
                    *(f"paths.{key}={folder}/{key}" for key in ("interim", "processed", "reports", "models")),
                    f"cap_classes.max_per_class={params.cap_classes.max_per_class * factor}",
                    f"hydra.run.dir={folder}/log",
                ]
                for stage in STAGES:
                    cost = stage_cost(stage, folder, overrides)
                    print(n_rows, stage, cost, flush=True)
                    costs.setdefault((n_rows, stage), []).append(cost)
                cost = epoch_cost(folder)
                print(n_rows, "epoch", cost, flush=True)
                costs.setdefault((n_rows, "epoch"), []).append(cost)
    results = [{"rows": n_rows, "stage": stage, **summary(found)} for (n_rows, stage), found in costs.items()]
    write("preparation", results, arguments, exponents=exponents(results))


def repeat(source: Path, target: Path, factor: int, schema: TableSchema) -> int:
    """Write a table several times into one file; copies from the second on have noise inside the ranges."""
    table = pacsv.read_csv(source)
    generator = np.random.default_rng(0)
    with pacsv.CSVWriter(target, table.schema) as writer:
        for copy in range(factor):
            writer.write_table(noisy(table, schema, generator) if copy else table)
    return factor * len(table)


def noisy(table: pa.Table, schema: TableSchema, generator: np.random.Generator) -> pa.Table:
    """Add up to 2 to the numbers of a table, or take it away, inside their ranges."""
    for name, column in schema.numeric.items():
        values = table[name].to_numpy() + generator.integers(-2, 3, len(table))
        values = np.clip(values, column.low, column.high).astype(np.int64)
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    return table


def run(command: list[str]) -> Cost:
    """Run a command and give its wall time and its most memory."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, *command], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    seconds, peak_kib = map(float, done.stdout.split())
    return Cost(seconds, peak_kib / 1024)


def stage_cost(stage: str, folder: Path, overrides: list[str]) -> dict[str, float]:
    before = files(folder)
    cost = run([sys.executable, f"scripts/{stage}.py", *overrides])
    return {
        "seconds": cost.seconds,
        "floor_seconds": floor([folder / source for source in STAGES[stage]], files(folder) - before),
        "peak_mib": cost.peak_mib,
    }


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix in (".csv", ".pt")}


def floor(sources: list[Path], outputs: set[Path]) -> float:
    """Read tables and write as much as the outputs hold."""
    tables = {path: pacsv.read_csv(path) for path in outputs if path.suffix == ".csv"}
    contents = [path.read_bytes() for path in outputs if path.suffix == ".pt"]
    with tempfile.TemporaryDirectory(dir=sources[0].parent) as folder:
        started = time.perf_counter()
        for source in sources:
            pacsv.read_csv(source)
        for index, table in enumerate(tables.values()):
            pacsv.write_csv(table, f"{folder}/{index}.csv")
        for index, content in enumerate(contents):
            Path(f"{folder}/{index}.pt").write_bytes(content)
        return time.perf_counter() - started


def epoch_cost(folder: Path) -> dict[str, float]:
    """Train the default experiment for an epoch, validation included."""
    run_folder = folder / "run"
    cost = run(
        [
            *(sys.executable, "src/train.py", *TRAIN),
            *(f"pipeline.paths.processed={folder}/processed", f"hydra.run.dir={run_folder}"),
        ]
    )
    report = json.loads((run_folder / "run.json").read_text())
    return {"seconds": report["training"]["train_seconds"], "peak_mib": cost.peak_mib}


def summary(costs: list[dict[str, float]]) -> dict[str, float]:
    """Give the median of the rounds' times and the most that any of them held in memory."""
    return {
        key: round(max(values)) if key == "peak_mib" else median(values)
        for key in costs[0]
        for values in [[cost[key] for cost in costs]]
    }


def exponents(results: list[dict[str, Any]]) -> dict[str, float]:
    """Fit seconds = a * rows ** exponent to each stage."""
    found = {}
    for stage in (*STAGES, "epoch"):
        rows = np.log([row["rows"] for row in results if row["stage"] == stage])
        seconds = np.log([row["seconds"] for row in results if row["stage"] == stage])
        if len(rows) > 1:
            found[stage] = round(float(np.polyfit(rows, seconds, 1)[0]), 3)
    return found


if __name__ == "__main__":
    main()
