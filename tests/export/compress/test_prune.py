import pytest
import torch
from torch import nn

from canopy.export.compress.prune import prune_neurons
from canopy.nets.mlp import MLP


@pytest.fixture(params=[100, 2], ids=["one-hot", "embedded"])
def net(request: pytest.FixtureRequest) -> MLP:
    """Three categories enter as three columns, or as an embedding of three numbers."""
    torch.manual_seed(0)
    return MLP(n_numeric=3, cardinalities=[2, 3], n_classes=4, hidden=[8, 6], max_one_hot=request.param)


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    codes = torch.stack([torch.randint(size, (50,), generator=generator) for size in (2, 3)], dim=1)
    return torch.randn(50, 3, generator=generator), codes


def widths(net: MLP) -> list[tuple[int, int]]:
    return [tuple(layer.weight.shape) for layer in net.layers if isinstance(layer, nn.Linear)]


def test_prune_takes_neurons_without_outgoing_weights_first(net: MLP, rows) -> None:
    """Half of each layer's neurons have no weights that lead away from them."""
    first, second, last = (layer for layer in net.layers if isinstance(layer, nn.Linear))
    with torch.no_grad():
        second.weight[:, [0, 3, 4, 7]] = 0
        last.weight[:, [1, 2, 5]] = 0
    pruned = prune_neurons(net, keep=0.5)
    assert widths(pruned) == [(4, 8), (3, 4), (4, 3)]
    torch.testing.assert_close(pruned(*rows), net(*rows))
    assert torch.equal(pruned.layers[0].weight, first.weight[[1, 2, 5, 6]])


def test_prune_takes_neurons_without_incoming_weights_first(net: MLP, rows) -> None:
    first = net.layers[0]
    with torch.no_grad():
        first.weight[[1, 2]] = 0
        first.bias[[1, 2]] = 0
    pruned = prune_neurons(net, keep=0.75)
    assert torch.equal(pruned.layers[0].bias, first.bias[[0, 3, 4, 5, 6, 7]])


def test_prune_leaves_the_net_and_gives_one_that_learns(net: MLP, rows) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    pruned = prune_neurons(net, keep=0.5)
    pruned(*rows).sum().backward()
    assert all(parameter.grad is not None for parameter in pruned.parameters())
    assert widths(net) == [(8, 8), (6, 8), (4, 6)]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [tuple(weight.shape) for weight in pruned.hidden_weights()] == [(4, 8), (3, 4)]


def test_prune_keeps_one_neuron(net: MLP) -> None:
    assert widths(prune_neurons(net, keep=0.01)) == [(1, 8), (1, 1), (4, 1)]
