from functools import partial

import pytest
import torch
from rtdl_num_embeddings import PeriodicEmbeddings

from canopy.nets.mlp import MLP, OneHot

periodic = partial(PeriodicEmbeddings, d_embedding=4, n_frequencies=6, lite=False)


@pytest.mark.parametrize("embedding", [None, periodic])
@pytest.mark.parametrize("hidden", [[], [8], [8, 4]])
@pytest.mark.parametrize(("n_numeric", "cardinalities"), [(3, [2, 5]), (0, [3]), (3, [])])
def test_any_features_give_logits(n_numeric: int, cardinalities: list[int], hidden, embedding) -> None:
    net = MLP(
        n_numeric=n_numeric,
        cardinalities=cardinalities,
        n_classes=7,
        hidden=hidden,
        embedding=embedding,
    )
    codes = torch.zeros(4, len(cardinalities), dtype=torch.int64)
    assert net(torch.rand(4, n_numeric), codes).shape == (4, 7)


def test_each_row_is_predicted_by_itself() -> None:
    torch.manual_seed(0)
    net = MLP(n_numeric=3, cardinalities=[4], n_classes=2, hidden=[8], embedding=periodic)
    numeric, codes = torch.rand(5, 3), torch.arange(5)[:, None] % 4
    alone = torch.cat([net(numeric[i : i + 1], codes[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(net(numeric, codes), alone)


def test_without_hidden_layers_it_is_linear() -> None:
    net = MLP(n_numeric=2, cardinalities=[3], n_classes=2, hidden=[])
    linear = net.layers[0]
    expected = torch.tensor([[0.5, -1.0, 0, 0, 1]]) @ linear.weight.T + linear.bias
    torch.testing.assert_close(net(torch.tensor([[0.5, -1.0]]), torch.tensor([[2]])), expected)


def test_dropout_works_in_training_alone() -> None:
    net = MLP(n_numeric=2, cardinalities=[], n_classes=2, hidden=[64], dropout=0.5)
    inputs = torch.rand(1, 2), torch.zeros(1, 0, dtype=torch.int64)
    assert not torch.equal(net(*inputs), net(*inputs))
    net.eval()
    assert torch.equal(net(*inputs), net(*inputs))


def test_a_code_beyond_its_feature_is_refused() -> None:
    with pytest.raises(RuntimeError, match="index 3 is out of bounds"):
        OneHot([3])(torch.tensor([[3]]))
