import pytest
import torch

from canopy.data.dataset import Batch, TensorRows
from canopy.data.loader import BatchIndices, Loader


def rows(n_rows: int) -> TensorRows:
    index = torch.arange(n_rows)
    return TensorRows(Batch(index[:, None].float(), index[:, None] % 4, index))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("n_ranks", [1, 2, 3])
@pytest.mark.parametrize(("n_rows", "batch_size"), [(12, 4), (13, 4), (7, 3), (10, 100)])
def test_each_row_is_in_one_batch_of_one_rank(
    n_rows: int, batch_size: int, n_ranks: int, shuffle: bool
) -> None:
    samplers = [
        BatchIndices(n_rows, batch_size, shuffle=shuffle, seed=3, rank=rank, n_ranks=n_ranks)
        for rank in range(n_ranks)
    ]
    batches = [list(sampler) for sampler in samplers]
    assert [len(batch) for batch in batches] == [len(samplers[0])] * n_ranks
    assert all(len(indices) for batch in batches for indices in batch)
    seen = torch.cat([indices for batch in batches for indices in batch])
    assert seen.sort().values.tolist() == list(range(n_rows))


def test_ranks_share_the_batches_of_one_process() -> None:
    whole = list(BatchIndices(64, 8, shuffle=True, seed=5))
    halves = [list(BatchIndices(64, 4, shuffle=True, seed=5, rank=rank, n_ranks=2)) for rank in (0, 1)]
    for batch, first, second in zip(whole, *halves, strict=True):
        assert set(batch.tolist()) == {*first.tolist(), *second.tolist()}


def test_seed_and_epoch_determine_the_order() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = BatchIndices(50, 50, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return next(iter(sampler)).tolist()

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1, 2) for epoch in (0, 1, 2)}) == 9


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "n_ranks", "message"),
    [(5, 0, 1, "batch size must be at least 1; found 0"), (1, 4, 2, "each of 2 ranks; found 1 rows")],
)
def test_impossible_batches_are_refused(n_rows: int, batch_size: int, n_ranks: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchIndices(n_rows, batch_size, shuffle=False, seed=0, n_ranks=n_ranks)


@pytest.mark.parametrize("n_workers", [0, 1])
def test_loader_gives_whole_batches(n_workers: int) -> None:
    loader = Loader(rows(5), batch_size=2, shuffle=False, seed=0, n_workers=n_workers)
    batches = list(loader)
    assert [batch.labels.tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    assert [part.tolist() for part in batches[0][:2]] == [[[0.0], [1.0]], [[0], [1]]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_on_a_device_give_their_batches_there(shuffle: bool) -> None:
    """The meta device stands for a GPU: copying from or to it, but for the order of an epoch, is an error."""
    batches = list(Loader(rows(5).to(torch.device("meta")), batch_size=2, shuffle=shuffle, seed=0))
    assert [len(batch.labels) for batch in batches] == [2, 2, 1]
    assert {tensor.device.type for batch in batches for tensor in batch} == {"meta"}


def test_tensors_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="same number of rows; found {'numeric': 3, 'categorical': 2"):
        TensorRows(Batch(torch.zeros(3, 1), torch.zeros(2, 1), torch.zeros(3)))
