import copy
import time
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from canopy.nets.mlp import MLP
from canopy.training import muon
from canopy.training.muon import MuonAdamW


@pytest.fixture
def net() -> MLP:
    torch.manual_seed(0)
    return MLP(n_numeric=3, cardinalities=[2], n_classes=4, hidden=[8, 16])


def optimizer_of(net: MLP, **settings: Any) -> MuonAdamW:
    return MuonAdamW(net.parameters(), hidden=net.hidden_weights(), **{"lr": 0.02, **settings})


def step(net: MLP, *optimizers: torch.optim.Optimizer) -> float:
    """Step on rows that are always the same; the loss before it."""
    generator = torch.Generator().manual_seed(1)
    numeric = torch.randn(32, 3, generator=generator)
    net.zero_grad()
    loss = nn.functional.cross_entropy(
        net(numeric, torch.zeros(32, 1, dtype=torch.int64)), torch.arange(32) % 4
    )
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss.item()


def test_a_step_is_that_of_both_optimizers_by_themselves(net: MLP, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, in the number type that PyTorch's takes."""
    monkeypatch.setattr(muon, "orthogonalization_type", lambda device: torch.bfloat16)
    alone = copy.deepcopy(net)
    hidden = alone.hidden_weights()
    others = [p for p in alone.parameters() if all(p is not weight for weight in hidden)]
    parts = (
        torch.optim.Muon(hidden, lr=0.02, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.02, weight_decay=0.1, fused=True),
    )
    optimizer = optimizer_of(net)
    for _ in range(5):
        assert step(net, optimizer) == step(alone, *parts)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), alone.parameters(), strict=True))


@pytest.mark.parametrize(
    ("capability", "expected"),
    [("DEFAULT", torch.float32), ("AVX2", torch.float32), ("AVX512", torch.bfloat16)],
)
def test_a_processor_orthogonalizes_in_a_type_that_it_has(
    monkeypatch: pytest.MonkeyPatch, capability: str, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert muon.orthogonalization_type(torch.device("cpu")) == expected


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_both_types_give_the_same_matrix_nearly(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(*shape)
    settings = {"coefficients": (3.4445, -4.775, 2.0315), "steps": 5, "eps": 1e-7}
    exact = muon.orthogonalize(matrix, **settings, dtype=torch.float64)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.1)):
        found = muon.orthogonalize(matrix, **settings, dtype=dtype)
        assert found.dtype == dtype
        assert (found.double() - exact).norm() / exact.norm() < tolerance
    assert torch.linalg.svdvals(exact).min() > 0.5
    assert torch.linalg.svdvals(exact).max() < 1.5


def test_the_default_net_steps_in_milliseconds() -> None:
    """In a number type that the processor must emulate it would be a second."""
    torch.manual_seed(0)
    net = MLP(n_numeric=3, cardinalities=[2], n_classes=4, hidden=[256, 256, 256])
    optimizer = optimizer_of(net)
    step(net, optimizer)
    started = time.perf_counter()
    for _ in range(5):
        optimizer.step()
    assert (time.perf_counter() - started) / 5 < 0.2


def test_muon_moves_a_matrix_by_the_same_in_each_of_its_directions(net: MLP) -> None:
    before = [weight.detach().clone() for weight in net.hidden_weights()]
    step(net, optimizer_of(net, weight_decay=0.0))
    for weight, old in zip(net.hidden_weights(), before, strict=True):
        rank = min(weight.shape) - (1 if weight is net.hidden_weights()[0] else 0)  # one category is never 1
        sizes = torch.linalg.svdvals(weight.detach() - old)[:rank]
        # Five iterations bring the singular values near 1, not onto it.
        assert sizes.max() < 2.5 * sizes.min()
        rms = (weight.detach() - old).square().mean().sqrt().item()
        assert rms == pytest.approx(0.02 * 0.2, rel=0.5), "as large as AdamW's steps usually are"


def test_a_schedule_sets_the_rate_of_both(net: MLP) -> None:
    optimizer = optimizer_of(net)
    schedule = OneCycleLR(optimizer, max_lr=0.02, total_steps=10, cycle_momentum=False)
    rates = []
    for _ in range(9):
        before = [p.detach().clone() for p in net.parameters()]
        step(net, optimizer)
        moved = [(p.detach() - b).abs().max().item() for p, b in zip(net.parameters(), before, strict=True)]
        rates.append((optimizer.param_groups[0]["lr"], min(moved)))
        assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[1]["lr"]
        schedule.step()
    assert max(rates)[0] == pytest.approx(0.02)
    assert max(rates)[1] > 5 * rates[0][1], "what is scheduled must move the weights"


@pytest.mark.parametrize("carry", ["state_dict", "copy"])
def test_it_goes_on_where_it_was(net: MLP, carry: str) -> None:
    optimizer = optimizer_of(net, lr=0.01)
    for _ in range(3):
        step(net, optimizer)
    if carry == "copy":
        other, resumed = copy.deepcopy((net, optimizer))
    else:
        other = copy.deepcopy(net)
        resumed = optimizer_of(other, lr=0.5)
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(3):
        assert step(net, optimizer) == step(other, resumed)


def test_a_closure_gives_the_loss(net: MLP) -> None:
    optimizer = optimizer_of(net)
    before = net.hidden_weights()[0].detach().clone()
    assert optimizer.step(lambda: step(net)) == pytest.approx(step(net), rel=0.5)
    assert not torch.equal(before, net.hidden_weights()[0])


def test_a_net_without_hidden_layers_is_all_adamws() -> None:
    torch.manual_seed(0)
    net = MLP(n_numeric=3, cardinalities=[2], n_classes=4, hidden=[])
    alone = copy.deepcopy(net)
    optimizer = optimizer_of(net)
    adamw = torch.optim.AdamW(alone.parameters(), lr=0.02, weight_decay=0.1, fused=True)
    for _ in range(3):
        assert step(net, optimizer) == step(alone, adamw)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "[Ll]earning rate.*-1"),
        ({"weight_decay": -1.0}, "weight decay.*-1"),
        ({"momentum": -1.0}, "momentum.*-1"),
        ({"betas": (1.0, 0.999)}, "beta.*1.0"),
    ],
)
def test_values_out_of_range_are_refused(net: MLP, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        optimizer_of(net, **settings)


def test_hidden_parameters_must_be_matrices(net: MLP) -> None:
    with pytest.raises(ValueError, match="2D"):
        MuonAdamW(net.parameters(), hidden=[net.layers[0].bias], lr=0.02)


def test_cycling_the_momentum_is_refused(net: MLP) -> None:
    with pytest.raises(ValueError, match="cycle_momentum"):
        OneCycleLR(optimizer_of(net), max_lr=0.02, total_steps=10)
