"""Batches from windows of shards: their order, their memory, a resume, damage."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from canopy.data.datamodule import TensorDataModule
from canopy.data.dataset import Batch, Shard
from canopy.data.loader import BatchIndices, Loader
from canopy.data.windows import ShardRows
from canopy.files import sha256

# A row takes 8 KiB and some, with its place: a window of half a MiB, half of the least memory, holds 63.
WIDTH = 2048
MOST_ROWS = 63
# Three windows in each order, of 3, 3 and 2 shards.
SIZES = [20] * 8


def write_shards(folder: Path, sizes: list[int], *, width: int = WIDTH) -> list[Shard]:
    """Write shards whose rows have their number as their label and in their last feature."""
    shards = []
    for index, numbers in enumerate(torch.arange(sum(sizes)).split(sizes)):
        numeric = torch.zeros(len(numbers), width)
        numeric[:, -1] = numbers
        path = folder / f"{index:05}.pt"
        torch.save(Batch(numeric, (numbers[:, None] % 7).to(torch.uint8), numbers)._asdict(), path)
        shards.append(Shard(path, len(numbers), sha256(path)))
    return shards


def open_loader(shards: list[Shard], batch_size: int = 16, *, seed: int | None = 0, **options: Any) -> Loader:
    rows = ShardRows(shards, memory_mib=1, seed=seed)
    return Loader(rows, batch_size=batch_size, shuffle=False, seed=0, **options)


def numbers_of(batches: Iterator[Batch]) -> list[list[int]]:
    found = []
    for batch in batches:
        assert torch.equal(batch.numeric[:, -1].long(), batch.labels)
        assert torch.equal(batch.categorical[:, 0].long(), batch.labels % 7)
        assert len(batch.weights) == len(batch.labels)
        found.append(batch.labels.tolist())
    return found


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, MOST_ROWS), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) >= 3),
    n_of_rank=st.integers(1, 50),
    seed=st.none() | st.integers(0, 9),
)
def test_order_does_not_depend_on_ranks(sizes: list[int], n_of_rank: int, seed: int | None) -> None:
    """Each row is in one batch of one rank, and the ranks' batches together are those of one process."""
    with tempfile.TemporaryDirectory() as folder:
        shards = write_shards(Path(folder), sizes)
        whole = [number for batch in numbers_of(iter(open_loader(shards, seed=seed))) for number in batch]
        assert (whole if seed is None else sorted(whole)) == list(range(sum(sizes)))
        for n_ranks in (1, 2, 3):
            step, merged = n_of_rank * n_ranks, []
            ranks = [
                numbers_of(iter(open_loader(shards, n_of_rank, seed=seed, rank=rank, n_ranks=n_ranks)))
                for rank in range(n_ranks)
            ]
            for index, batches in enumerate(zip(*ranks, strict=True)):
                row_of = [-1] * sum(map(len, batches))
                for rank, batch in enumerate(batches):
                    assert batch
                    row_of[rank::n_ranks] = batch
                assert len(row_of) == step or index == len(ranks[0]) - 1
                merged += row_of
            assert merged == whole


def test_rows_are_permuted_within_windows_of_permuted_shards(tmp_path: Path) -> None:
    loader = open_loader(write_shards(tmp_path, SIZES), 20)
    orders = []
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        rows = torch.tensor([number for batch in numbers_of(iter(loader)) for number in batch])
        shards = [{*(window // 20).tolist()} for window in rows.split(60)]
        assert [len(found) for found in shards] == [3, 3, 2]
        assert all((window.diff().abs() == 1).float().mean() < 0.2 for window in rows.split(60))
        orders.append((rows.tolist(), shards))
    assert orders[0][0] != orders[1][0]
    assert orders[0][1] != orders[1][1]


@pytest.mark.parametrize("n_ranks", [1, 3])
@pytest.mark.parametrize("batch_size", [7, 16, 100])
def test_resume_reads_no_earlier_window(tmp_path: Path, batch_size: int, n_ranks: int) -> None:
    shards = write_shards(tmp_path, SIZES)
    options = {"rank": n_ranks - 1, "n_ranks": n_ranks}
    whole = open_loader(shards, batch_size, **options)
    whole.sampler.set_epoch(3)
    states, expected = [], []
    for batch in whole:
        states.append(whole.state_dict())
        expected.append(batch.labels.tolist())
    windows = [*whole.dataset.windows(3)]  # type: ignore[attr-defined]
    loaders = [open_loader(shards, batch_size, **options) for _ in states]
    for index, (resumed, state) in enumerate(zip(loaders, states, strict=True)):
        for window in windows:
            if window.stop <= index * batch_size * n_ranks:
                for shard in window.shards:
                    shard.path.unlink(missing_ok=True)
                    shard.path.touch()
        resumed.load_state_dict(state)
        resumed.sampler.set_epoch(3)
        assert numbers_of(iter(resumed)) == expected[index:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "{} must exist; found no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "{} must have the SHA-256"),
    ],
)
def test_damaged_shard_is_named_when_its_window_begins(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    loader = open_loader(write_shards(tmp_path, SIZES), 10)
    path = [*loader.dataset.windows(0)][1].shards[-1].path  # type: ignore[attr-defined]
    damage(path)
    batches = iter(loader)
    assert len(numbers_of(next(batches) for _ in range(6))) == 6
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message.format(path))):
        next(batches)


def test_shard_of_another_number_of_rows_is_refused(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [20, 20])
    stale = [shards[0], shards[1]._replace(n_rows=19)]
    with pytest.raises(ValueError, match=r"00001.pt must have the 19 rows of its schema; found 20; run"):
        list(open_loader(stale))


def test_too_little_memory_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [20, MOST_ROWS + 1, 20])
    message = r"memory_mib must be at least 2, twice the largest shard, .*00001.pt; got 1"
    with pytest.raises(ValueError, match=message):
        ShardRows(shards, memory_mib=1, seed=0)
    assert len(ShardRows(shards, memory_mib=2, seed=0)) == MOST_ROWS + 41


def test_order_in_memory_stays_as_it_was() -> None:
    """Runs of earlier versions are reproduced."""
    indices = BatchIndices(8, 8, shuffle=True, seed=5)
    indices.set_epoch(2)
    assert [batch.tolist() for batch in indices] == [[0, 3, 4, 7, 6, 5, 2, 1]]


def test_data_module_trains_from_shards_of_all_its_splits(
    tensors: Path, replace_rows: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    replace_rows(tensors, "train", 100, 0, 150, 50)
    found: dict[int | None, list[list[int]]] = {}
    for memory_mib in (None, 1):
        options = {
            "train_splits": ("train", "val"),
            "memory_mib": memory_mib,
            "n_workers": 1 if memory_mib else 0,
        }
        data = TensorDataModule(tensors, batch_size=16, eval_batch_size=40, seed=0, **options)
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(world_size=1, global_rank=0, strategy=strategy)
        data.setup("fit")
        loaders = (data.train_dataloader(), data.val_dataloader())
        found[memory_mib] = [[row for b in loader for row in b.numeric[:, 0].tolist()] for loader in loaders]
    assert sorted(found[1][0]) == sorted(found[None][0])
    assert found[1][0] != found[None][0]
    assert found[1][1] == found[None][1]
    assert "data.n_workers=1 does nothing with data.memory_mib" in caplog.text
    (tensors / "train/00003.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"train/00003.pt must exist; .* run"):
        data.setup("fit")


MEASURE = """
import sys
from pathlib import Path
import psutil
from canopy.data.dataset import Shard
from canopy.data.loader import Loader
from canopy.data.windows import ShardRows

folder, n_rows, hashed, memory_mib = sys.argv[1:]
process = psutil.Process()
shards = [Shard(path, int(n_rows), hashed) for path in sorted(Path(folder).glob("*.pt"))]

def peak(shards):
    rows = ShardRows(shards, memory_mib=int(memory_mib), seed=0)
    loader = Loader(rows, batch_size=1000, shuffle=False, seed=0)
    return max(process.memory_info().rss for batch in loader)

# What is loaded once, libraries and code, is no rows.
few = peak(shards[:1])
print(peak(shards) - few)
"""


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Of 256 MiB, in shards of 4 MiB, 32 MiB are held, and the pages of a shard that is being read."""
    [shard] = write_shards(tmp_path, [4096], width=256)
    for index in range(1, 64):
        (tmp_path / f"{index:05}.pt").hardlink_to(shard.path)
    arguments = [str(tmp_path), str(shard.n_rows), shard.sha256, "32"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True
    )
    held = int(done.stdout) / 2**20
    assert 16 < held < 32 + 4
