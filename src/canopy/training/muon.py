"""Muon for the weights of hidden layers and AdamW for all else, as one optimiser."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class MuonAdamW(Optimizer):
    """Orthogonalise the steps of matrices, and adapt those of all other parameters one by one.

    Muon moves the weights of hidden layers by the orthogonal matrix nearest to their gradients' moving
    average, so that no few directions rule a step. It does not suit embeddings, biases and the weights that
    give the logits: those are AdamW's. Muon's steps are as large as AdamW's, so that both share a rate.

    Sources: Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024; Gorishniy et al.,
    Benchmarking optimizers for MLPs in tabular deep learning, 2026.

    Args:
        params: All parameters of the net.
        hidden: Those of them that Muon moves, each a matrix.
        lr: Learning rate.
        weight_decay: Share of a parameter that a step at rate 1 takes away.
        momentum: Share of the earlier gradients in the moving average of Muon.
        betas: The same in the moving averages of AdamW: of gradients and of their squares.

    Raises:
        ValueError: If a value is out of its range, or a hidden parameter is no matrix.

    Examples:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> optimizer = MuonAdamW(net.parameters(), hidden=[net[0].weight], lr=0.01)
        >>> [(group["name"], len(group["params"])) for group in optimizer.param_groups]
        [('muon', 1), ('adamw', 3)]
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        hidden: Iterable[Tensor],
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.9,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        matrices = list(hidden)
        found = {id(parameter) for parameter in matrices}
        others = [parameter for parameter in params if id(parameter) not in found]
        muon = torch.optim.Muon(
            [{"params": matrices, "name": "muon"}],
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        adamw = torch.optim.AdamW(
            [{"params": others, "name": "adamw"}],
            lr=lr,
            weight_decay=weight_decay,
            betas=(betas[0], betas[1]),
            fused=True,
        )
        super().__init__(muon.param_groups + adamw.param_groups, {"lr": lr, "weight_decay": weight_decay})
        self._connect()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._connect()

    def _connect(self) -> None:
        """Let both optimisers work on this one's groups and state, which schedules and checkpoints see."""
        matrices, others = self.param_groups
        self._parts = (torch.optim.Muon([matrices]), torch.optim.AdamW([others], fused=True))
        for part in self._parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()  # type: ignore[no-untyped-call]
        return loss
