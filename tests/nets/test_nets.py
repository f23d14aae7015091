"""What holds for every net."""

from functools import partial
from typing import Any

import pytest
import torch
from rtdl_num_embeddings import PeriodicEmbeddings
from torch import nn

from canopy.nets.ensemble import Ensemble, MixedEnsemble
from canopy.nets.mlp import MLP
from canopy.nets.piecewise import PiecewiseLinear
from canopy.nets.resnet import ResNet
from canopy.nets.tabm import TabM

QUANTILES = [[-3.0, -1.0, 0.0, 1.0, 3.0]] * 3
EMBEDDINGS = {
    "none": None,
    "periodic": partial(PeriodicEmbeddings, d_embedding=4, n_frequencies=6, lite=False),
    "piecewise": partial(PiecewiseLinear, d_embedding=4, n_bins=3),
}
NETS = {
    "linear": partial(MLP, hidden=[]),
    "mlp": partial(MLP, hidden=[8, 4], dropout=0.5),
    "resnet": partial(ResNet, n_blocks=2, width=8, hidden=4, hidden_dropout=0.5, residual_dropout=0.1),
    "ensemble": lambda embedding, **data: Ensemble(
        n_members=3, member=partial(MLP, hidden=[8], dropout=0.5, embedding=embedding), **data
    ),
    "mixed": lambda embedding, **data: MixedEnsemble(
        members={
            "mlp": partial(MLP, hidden=[8], dropout=0.5, embedding=embedding),
            "tabm": partial(TabM, n_members=2, n_blocks=1, width=8, dropout=0.5, embedding=embedding),
            "left out": None,
        },
        **data,
    ),
    "tabm": partial(TabM, n_members=3, n_blocks=2, width=8, dropout=0.5),
    "tabm_mini": partial(TabM, kind="tabm-mini", n_members=3, n_blocks=2, width=8, dropout=0.5),
}
ENSEMBLES = ("ensemble", "mixed", "tabm", "tabm_mini")


def make(net: str, *, n_numeric: int = 3, embedding: str = "none", **options: Any) -> nn.Module:
    data = {"cardinalities": (2, 5), "n_outputs": 7, "quantiles": QUANTILES[:n_numeric], "max_one_hot": 100}
    return NETS[net](n_numeric=n_numeric, embedding=EMBEDDINGS[embedding], **{**data, **options})


def inputs(n_rows: int, *, n_numeric: int = 3, cardinalities: Any = (2, 5)) -> tuple[torch.Tensor, ...]:
    codes = torch.arange(n_rows)[:, None] % torch.tensor(cardinalities, dtype=torch.int64)
    return torch.randn(n_rows, n_numeric), codes


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("max_one_hot", [100, 2, 0])
@pytest.mark.parametrize(("n_numeric", "cardinalities"), [(3, (2, 5)), (0, (3,)), (3, ())])
def test_net_gives_logits_for_any_features(
    net: str, embedding: str, max_one_hot: int, n_numeric: int, cardinalities: tuple[int, ...]
) -> None:
    data = {"n_numeric": n_numeric, "cardinalities": cardinalities}
    logits = make(net, embedding=embedding, max_one_hot=max_one_hot, **data)(*inputs(4, **data))
    assert logits.shape == ((4, 3, 7) if net in ENSEMBLES else (4, 7))


@pytest.mark.parametrize("max_one_hot", [100, 2])
@pytest.mark.parametrize("net", NETS)
def test_net_is_batch_invariant(net: str, max_one_hot: int) -> None:
    torch.manual_seed(0)
    made = make(net, embedding="periodic", max_one_hot=max_one_hot).eval()
    numeric, codes = inputs(5)
    alone = torch.cat([made(numeric[i : i + 1], codes[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(made(numeric, codes), alone)


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("max_one_hot", [100, 2])
@pytest.mark.parametrize("net", NETS)
def test_every_weight_gets_a_gradient(net: str, embedding: str, max_one_hot: int) -> None:
    torch.manual_seed(0)
    made = make(net, embedding=embedding, max_one_hot=max_one_hot)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    rows = inputs(64)
    for _ in range(2):  # some weights are zero at the start, and hold others back for a step
        optimizer.zero_grad()
        logits = made(*rows).reshape(-1, 7)
        nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 7).backward()
        optimizer.step()
    still = [name for name, weight in made.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not still


@pytest.mark.parametrize(
    ("net", "shapes"),
    [
        ("linear", []),
        ("mlp", [(8, 18), (4, 8)]),
        ("resnet", [(8, 18), (4, 8), (8, 4), (4, 8), (8, 4)]),
        ("ensemble", [(8, 18)] * 3),
        ("mixed", [(8, 18)] * 2),
        ("tabm", [(8, 18), (8, 8)]),
        ("tabm_mini", [(8, 18), (8, 8)]),
    ],
)
def test_hidden_weights_lists_the_matrices_of_hidden_layers(net: str, shapes: list[tuple[int, int]]) -> None:
    """Three numbers and the second category are embedded, by weights that are no hidden matrices."""
    made = make(net, embedding="periodic", max_one_hot=2)
    assert [tuple(weight.shape) for weight in made.hidden_weights()] == shapes
