import pytest
import torch
from torch import nn

from canopy.export.compress.compress import choose, draw_variants
from canopy.export.compress.variants import prune_neurons
from canopy.nets.mlp import MLP


@pytest.fixture(params=[100, 2], ids=["one-hot", "embedded"])
def net(request: pytest.FixtureRequest) -> MLP:
    """Three categories enter as three columns, or as an embedding of three numbers."""
    torch.manual_seed(0)
    return MLP(n_numeric=3, cardinalities=[2, 3], n_classes=4, hidden=[8, 6], max_one_hot=request.param)


def widths(net: MLP) -> list[tuple[int, int]]:
    return [tuple(layer.weight.shape) for layer in net.layers if isinstance(layer, nn.Linear)]


def test_prune_takes_neurons_without_weights_first_and_leaves_the_net(net: MLP) -> None:
    """Half of each layer's neurons have no weights that lead to them or away from them."""
    first, second, last = (layer for layer in net.layers if isinstance(layer, nn.Linear))
    with torch.no_grad():
        second.weight[:, [0, 3]] = 0
        first.weight[[4, 7]] = 0
        first.bias[[4, 7]] = 0
        last.weight[:, [1, 2, 5]] = 0
    before = {name: value.clone() for name, value in net.state_dict().items()}
    pruned = prune_neurons(net, keep=0.5)
    assert widths(pruned) == [(4, 8), (3, 4), (4, 3)]
    assert torch.equal(pruned.layers[0].weight, first.weight[[1, 2, 5, 6]])
    rows = torch.randn(50, 3), torch.stack([torch.randint(size, (50,)) for size in (2, 3)], dim=1)
    found = pruned(*rows)
    # A bias that meets no weights is all that such a neuron could add: SiLU of 0 is 0.
    torch.testing.assert_close(found, net(*rows))
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in pruned.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [tuple(weight.shape) for weight in pruned.hidden_weights()] == [(4, 8), (3, 4)]
    assert widths(prune_neurons(net, keep=0.01)) == [(1, 8), (1, 1), (4, 1)]


def variant(name: str, n_bytes: int, val_accuracy: float, val_nll: float = 0.1) -> dict:
    speeds = [{"rows_per_second": 256_000}]
    scores = {"val_accuracy": val_accuracy, "val_nll": val_nll, "accuracy": val_accuracy - 0.01}
    return {"name": name, "n_bytes": n_bytes, "speeds": speeds, **scores}


WHOLE, INT8 = variant("whole", 800, 0.95), variant("int8", 250, 0.949)
PRUNED, TINY = variant("pruned", 220, 0.9485), variant("tiny", 100, 0.93)
ALL = (WHOLE, INT8, PRUNED, TINY)
BETTER, UNSURE = variant("better", 220, 0.9495), variant("unsure", 10, 0.95, val_nll=0.2)


@pytest.mark.parametrize(
    ("variants", "max_accuracy_drop", "max_nll_increase", "expected"),
    [
        pytest.param(ALL, 0.0, 0.01, WHOLE, id="no budget"),
        pytest.param(ALL, 0.0011, 0.01, INT8, id="small budget"),
        pytest.param(ALL, 0.002, 0.01, PRUNED, id="medium budget"),
        pytest.param(ALL, 0.03, 0.01, TINY, id="large budget"),
        pytest.param((*ALL, BETTER), 0.01, 0.01, BETTER, id="more accurate of two as small"),
        pytest.param((*ALL, UNSURE), 0.002, 0.09, PRUNED, id="log loss beyond the budget"),
        pytest.param((*ALL, UNSURE), 0.002, 0.11, UNSURE, id="log loss within the budget"),
    ],
)
def test_choose_takes_the_smallest_within_the_budget(
    variants: tuple[dict, ...], max_accuracy_drop: float, max_nll_increase: float, expected: dict
) -> None:
    budget = {"max_accuracy_drop": max_accuracy_drop, "max_nll_increase": max_nll_increase}
    assert choose(variants, **budget) is expected


def test_plot_shows_each_variant_and_which_is_served() -> None:
    figure = draw_variants(ALL, chosen=PRUNED, budget=0.002)
    for axes in figure.axes:
        lines = {line.get_label(): line for line in axes.lines}
        assert [lines[item["name"]].get_ydata() for item in ALL] == [[item["accuracy"]] for item in ALL]
        assert lines["budget"].get_ydata()[0] == pytest.approx(0.938)
        (ring,) = (line for line in axes.lines if line.get_markersize() > 10)
        assert ring.get_ydata() == [PRUNED["accuracy"]]
    assert figure.get_suptitle() == "Smaller and faster models; served: pruned"
