"""Rows per second that loaders hand out, shuffled: ours, PyTorch's stock one, and bare indexing of tensors.

Ours reads them from memory, and from windows of shards.

python benchmarks/loading.py
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from common import ROOT, median, parse, take_turns, write
from torch.utils.data import DataLoader, TensorDataset

from canopy.data.dataset import Batch, Shard, TensorRows, load_rows
from canopy.data.loader import Loader
from canopy.data.windows import PLACE, ShardRows
from canopy.files import sha256
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tensors import save_tensors

PROCESSED = ROOT / "data/processed"
BATCH_SIZES = (256, 512, 1024, 2048, 4096, 8192)
# The stock loader is so slow that a part of the rows does.
N_STOCK_ROWS = 60_000
# Shards of all rows, and how many of them are a window: as many again are read meanwhile.
N_SHARDS, N_OF_WINDOW = 40, 4


def main() -> None:
    arguments = parse(__doc__)
    rows = load_rows(PROCESSED, "train", Schema.load(PROCESSED / SCHEMA_FILE))
    with tempfile.TemporaryDirectory(dir=PROCESSED.parent) as folder:
        compare(rows, in_shards(rows, Path(folder)), arguments)


def compare(rows: TensorRows, shards: ShardRows, arguments: argparse.Namespace) -> None:
    results = []
    for batch_size in (1024, 4096) if arguments.quick else BATCH_SIZES:
        contenders = {
            "canopy": timed(lambda: ours(rows, batch_size)),  # noqa: B023 - called within the loop
            "windows": timed(lambda: ours(shards, batch_size)),  # noqa: B023
            "indexing": timed(lambda: indexing(rows, batch_size)),  # noqa: B023
            "index_select": timed(lambda: index_select(rows, batch_size)),  # noqa: B023
        }
        found = take_turns(contenders, n_repeats=3 if arguments.quick else 11)
        found |= take_turns(
            {
                "stock, 0 workers": timed(lambda: stock(rows, batch_size, n_workers=0)),  # noqa: B023
                "stock, 2 workers": timed(lambda: stock(rows, batch_size, n_workers=2)),  # noqa: B023
            },
            n_repeats=1 if arguments.quick else 3,
        )
        speed = {name: median(speeds) for name, speeds in found.items()}
        results.append(
            {
                "batch_size": batch_size,
                **{f"{name} rows/s": value for name, value in speed.items()},
                "canopy/indexing": round(speed["canopy"] / speed["indexing"], 3),
                "canopy/index_select": round(speed["canopy"] / speed["index_select"], 3),
                "windows/canopy": round(speed["windows"] / speed["canopy"], 3),
            }
        )
    write("loading", results, arguments, n_rows=len(rows))


def timed(batches: Callable[[], Iterator[int]]) -> Callable[[], float]:
    """Give rows per second over all batches."""

    def measure() -> float:
        started = time.perf_counter()
        n_rows = sum(batches())
        return n_rows / (time.perf_counter() - started)

    return measure


def in_shards(rows: TensorRows, folder: Path) -> ShardRows:
    """Write rows to shards, with memory for two windows."""
    shards = []
    for index, part in enumerate(zip(*(tensor.chunk(N_SHARDS) for tensor in rows.rows), strict=True)):
        path = folder / f"{index}.pt"
        save_tensors({name: tensor.clone() for name, tensor in Batch(*part)._asdict().items()}, path)
        shards.append(Shard(path, len(part[0]), sha256(path)))
        shards[-1].check()
    n_bytes = shards[0].n_rows * (PLACE + rows.n_bytes // len(rows))
    return ShardRows(shards, memory_mib=-(-2 * N_OF_WINDOW * n_bytes // 2**20), seed=0)


def ours(rows: TensorRows | ShardRows, batch_size: int) -> Iterator[int]:
    is_in_memory = isinstance(rows, TensorRows)
    for batch in Loader(rows, batch_size=batch_size, shuffle=is_in_memory, seed=0):
        yield len(batch.labels)


def indexing(rows: TensorRows, batch_size: int) -> Iterator[int]:
    """What one writes without a loader; as in a training loop, a batch lives until the next one is there."""
    order = torch.randperm(len(rows))
    for start in range(0, len(rows), batch_size):
        index = order[start : start + batch_size]
        batch = Batch(*(tensor[index] for tensor in rows.rows))
        yield len(batch.labels)


def index_select(rows: TensorRows, batch_size: int) -> Iterator[int]:
    """The same by the faster of torch's two ways."""
    order = torch.randperm(len(rows))
    for start in range(0, len(rows), batch_size):
        index = order[start : start + batch_size]
        batch = Batch(*(tensor.index_select(0, index) for tensor in rows.rows))
        yield len(batch.labels)


def stock(rows: TensorRows, batch_size: int, *, n_workers: int) -> Iterator[int]:
    part = TensorDataset(*(tensor[:N_STOCK_ROWS] for tensor in rows.rows))
    for _, _, labels, _ in DataLoader(part, batch_size=batch_size, shuffle=True, num_workers=n_workers):
        yield len(labels)


if __name__ == "__main__":
    main()
