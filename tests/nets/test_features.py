import torch
from rtdl_num_embeddings import PiecewiseLinearEncoding

from canopy.nets.features import Features
from canopy.nets.piecewise import PiecewiseLinear, choose_edges

QUANTILES = [[0.0, 1.0, 2.0, 4.0, 8.0], [-1.0, 0.0, 0.0, 0.0, 1.0]]


def test_an_unseen_category_adds_nothing() -> None:
    features = Features(n_numeric=0, cardinalities=[3, 9, 2], max_one_hot=3, d_category=2)
    seen = features(torch.zeros(1, 0), torch.tensor([[1, 4, 1]]))[0].tolist()
    assert seen == [0, 1, 0, 0, 1, *features.category_embeddings[0].weight[4].tolist()]
    unseen = features(torch.zeros(1, 0), torch.tensor([[3, 9, 2]]))
    assert unseen[0].tolist() == [0] * 7
    (weight,) = features.parameters()
    features(torch.zeros(2, 0), torch.tensor([[0, 9, 0], [0, 1, 0]])).sum().backward()
    assert weight.grad is not None
    assert weight.grad[[1, 9]].tolist() == [[1, 1], [0, 0]]


def test_a_feature_of_more_categories_than_the_bound_is_embedded() -> None:
    features = Features(n_numeric=1, cardinalities=[4, 3, 5, 2], max_one_hot=3, d_category=2)
    first, second = features.category_embeddings
    assert (first.weight.shape, second.weight.shape) == ((5, 2), (6, 2))
    found = features(torch.tensor([[0.5]]), torch.tensor([[3, 2, 4, 0]]))
    assert found.tolist() == [[0.5, 0, 0, 1, 1, 0, *first.weight[3].tolist(), *second.weight[4].tolist()]]
    assert features.widths == [1, 3, 2, 2, 2]
    assert features.n_outputs == 10


def test_an_embedding_starts_uniform_as_wide_as_its_number_of_categories_asks() -> None:
    torch.manual_seed(0)
    (embed,) = Features(n_numeric=0, cardinalities=[1000]).category_embeddings
    assert embed.weight.shape == (1001, 50)
    assert not embed.weight[-1].any()
    bound = 50**-0.5
    assert 0.99 * bound < embed.weight.max() <= bound
    assert -bound <= embed.weight.min() < -0.99 * bound


def test_bins_are_between_the_quantiles() -> None:
    embedding = PiecewiseLinear(2, quantiles=QUANTILES, n_bins=2, d_embedding=3)
    encoding = PiecewiseLinearEncoding([torch.tensor([0.0, 2.0, 8.0]), torch.tensor([-1.0, 0.0, 1.0])])
    rows = torch.tensor([[1.0, -0.5], [5.0, 0.5], [14.0, -2.0]])
    # Equal quantiles make one edge: with four bins the second feature has two.
    assert encoding(rows).tolist() == [[0.5, 0, 0.5, 0], [1, 0.5, 1, 0.5], [1, 2, -1, 0]]
    torch.testing.assert_close(embedding.impl(rows).flatten(1), encoding(rows))
    assert PiecewiseLinear(2, quantiles=QUANTILES, n_bins=4, d_embedding=3).impl(rows).shape == (3, 2, 4)
    # Fewer values than bins are all edges; a constant begins a bin.
    assert choose_edges([0.0, 3.0, 3.0, 7.0], 100).tolist() == [0, 3, 7]
    assert choose_edges([5.0, 5.0], 2).tolist() == [5, 6]
