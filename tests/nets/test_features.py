from functools import partial

import pytest
import torch
from rtdl_num_embeddings import PiecewiseLinearEncoding

from canopy.nets.features import Features, OneHot
from canopy.nets.piecewise import PiecewiseLinear

QUANTILES = [[0.0, 1.0, 2.0, 4.0, 8.0], [-1.0, 0.0, 0.0, 0.0, 1.0]]


def test_without_embeddings_numbers_enter_as_they_are() -> None:
    features = Features(n_numeric=2, cardinalities=[3])
    found = features(torch.tensor([[0.5, -1.0]]), torch.tensor([[2]]))
    assert found.tolist() == [[0.5, -1.0, 0, 0, 1]]
    assert features.n_outputs == 5


@pytest.mark.parametrize(
    "code",
    [3, -1],
)
def test_a_code_beyond_its_feature_is_refused(code: int) -> None:
    with pytest.raises(RuntimeError, match=f"index {code} is out of bounds"):
        OneHot([3])(torch.tensor([[code]]))


def test_bins_are_between_the_quantiles() -> None:
    embedding = PiecewiseLinear(2, quantiles=QUANTILES, n_bins=2, d_embedding=3)
    encoding = PiecewiseLinearEncoding([torch.tensor([0.0, 2.0, 8.0]), torch.tensor([-1.0, 0.0, 1.0])])
    rows = torch.tensor([[1.0, -0.5], [5.0, 0.5], [14.0, -2.0]])
    # Equal quantiles make one edge: with four bins the second feature has two.
    assert encoding(rows).tolist() == [[0.5, 0, 0.5, 0], [1, 0.5, 1, 0.5], [1, 2, -1, 0]]
    torch.testing.assert_close(embedding.impl(rows).flatten(1), encoding(rows))
    assert PiecewiseLinear(2, quantiles=QUANTILES, n_bins=4, d_embedding=3).impl(rows).shape == (3, 2, 4)


@pytest.mark.parametrize(
    ("n_bins", "quantiles"), [(5, QUANTILES), (1, QUANTILES), (2, QUANTILES[:1]), (2, ())]
)
def test_bins_without_quantiles_are_refused(n_bins: int, quantiles: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=f"n_bins must be between 2 and .*; found {n_bins} and"):
        PiecewiseLinear(2, quantiles=quantiles, n_bins=n_bins, d_embedding=3)


def test_quantiles_go_to_embeddings_that_take_them() -> None:
    features = Features(
        n_numeric=2,
        cardinalities=[],
        quantiles=QUANTILES,
        embedding=partial(PiecewiseLinear, n_bins=2, d_embedding=3),
    )
    assert features(torch.rand(4, 2), torch.zeros(4, 0, dtype=torch.int64)).shape == (4, 6)
