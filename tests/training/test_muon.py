import copy
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
    return MLP(n_numeric=3, cardinalities=[2], n_outputs=4, hidden=[8, 16])


def optimizer_of(net: MLP, **settings: Any) -> MuonAdamW:
    return MuonAdamW(net.parameters(), hidden=net.hidden_weights(), **{"lr": 0.02, **settings})


def step(net: MLP, *optimizers: torch.optim.Optimizer) -> float:
    """Step on rows that are always the same; the loss before it."""
    numeric = torch.randn(32, 3, generator=torch.Generator().manual_seed(1))
    net.zero_grad()
    logits = net(numeric, torch.zeros(32, 1, dtype=torch.int64))
    loss = nn.functional.cross_entropy(logits, torch.arange(32) % 4)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("hidden", [[8, 16], []], ids=["both", "no hidden layers"])
def test_a_step_is_that_of_both_optimizers(hidden: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, in the number type that PyTorch's takes."""
    monkeypatch.setattr(muon, "orthogonalization_type", lambda device: torch.bfloat16)
    torch.manual_seed(0)
    net = MLP(n_numeric=3, cardinalities=[2], n_outputs=4, hidden=hidden)
    alone = copy.deepcopy(net)
    matrices = alone.hidden_weights()
    others = [p for p in alone.parameters() if all(p is not weight for weight in matrices)]
    options = {"lr": 0.02, "weight_decay": 0.1}
    parts = (
        torch.optim.Muon([{"params": matrices}], momentum=0.9, adjust_lr_fn="match_rms_adamw", **options),
        torch.optim.AdamW(others, fused=True, **options),
    )
    optimizer = optimizer_of(net)
    for _ in range(5):
        assert step(net, optimizer) == step(alone, *parts)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), alone.parameters(), strict=True))


@pytest.mark.parametrize(("capability", "expected"), [("AVX2", torch.float32), ("AVX512", torch.bfloat16)])
def test_a_processor_orthogonalizes_in_a_type_that_it_has(
    monkeypatch: pytest.MonkeyPatch, capability: str, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert muon.orthogonalization_type(torch.device("cpu")) == expected


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_each_type_brings_singular_values_near_1(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(*shape)
    settings = ((3.4445, -4.775, 2.0315), 5, 1e-7)
    exact = muon.orthogonalize(matrix, *settings, dtype=torch.float64)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.1)):
        found = muon.orthogonalize(matrix, *settings, dtype=dtype)
        assert found.dtype == dtype
        assert (found.double() - exact).norm() / exact.norm() < tolerance
    assert torch.linalg.svdvals(exact).min() > 0.5
    assert torch.linalg.svdvals(exact).max() < 1.5


def test_a_schedule_sets_the_rate_of_both(net: MLP) -> None:
    optimizer = optimizer_of(net)
    schedule = OneCycleLR(optimizer, max_lr=0.02, total_steps=10, cycle_momentum=False)
    moves = []
    for _ in range(3):
        before = copy.deepcopy(net)
        step(net, optimizer)
        pairs = zip(net.parameters(), before.parameters(), strict=True)
        moves.append(min((after - start).abs().max().item() for after, start in pairs))
        schedule.step()
    assert moves[2] > 5 * moves[0]


@pytest.mark.parametrize("carry", ["state_dict", "copy"])
def test_a_restored_optimizer_continues(net: MLP, carry: str) -> None:
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
