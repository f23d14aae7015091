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


def test_neurons_that_say_nothing_go_first_and_are_not_missed(net: MLP, rows) -> None:
    """Half of each layer's neurons have no weights that lead away from them."""
    first, second, last = (layer for layer in net.layers if isinstance(layer, nn.Linear))
    with torch.no_grad():
        second.weight[:, [0, 3, 4, 7]] = 0
        last.weight[:, [1, 2, 5]] = 0
    narrower = prune_neurons(net, keep=0.5)
    assert widths(narrower) == [(4, 8), (3, 4), (4, 3)]
    torch.testing.assert_close(narrower(*rows), net(*rows))
    assert torch.equal(narrower.layers[0].weight, first.weight[[1, 2, 5, 6]])


def test_neurons_that_nothing_reaches_go_first_too(net: MLP, rows) -> None:
    first = net.layers[0]
    with torch.no_grad():
        first.weight[[1, 2]] = 0
        first.bias[[1, 2]] = 0
    narrower = prune_neurons(net, keep=0.75)
    assert torch.equal(narrower.layers[0].bias, first.bias[[0, 3, 4, 5, 6, 7]])


def test_the_net_stays_as_it_is_and_the_narrow_one_learns(net: MLP, rows) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    narrower = prune_neurons(net, keep=0.5)
    narrower(*rows).sum().backward()
    assert all(parameter.grad is not None for parameter in narrower.parameters())
    assert widths(net) == [(8, 8), (6, 8), (4, 6)]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [tuple(weight.shape) for weight in narrower.hidden_weights()] == [(4, 8), (3, 4)]


def test_a_neuron_always_stays(net: MLP) -> None:
    assert widths(prune_neurons(net, keep=0.01)) == [(1, 8), (1, 1), (4, 1)]
