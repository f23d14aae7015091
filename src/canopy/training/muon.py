"""Muon for the weights of hidden layers and AdamW for all else, as one optimiser."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class MuonAdamW(Optimizer):
    """Orthogonalise the steps of matrices (`hidden`), and adapt those of all other parameters one by one.

    Muon moves the weights of hidden layers by the orthogonal matrix nearest to their gradients' moving
    average, so that no few directions rule a step. It does not suit embeddings, biases and the output layer:
    those are AdamW's. Muon's steps are as large as AdamW's, so that both share a learning rate.

    Sources: Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024; Gorishniy et al.,
    Benchmarking optimizers for MLPs in tabular deep learning, 2026.
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
        shared: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        options = {"momentum": momentum, "adjust_lr_fn": "match_rms_adamw", **shared}
        muon = torch.optim.Muon([{"params": matrices, "name": "muon"}], **options)
        group = {"params": others, "name": "adamw"}
        adamw = torch.optim.AdamW([group], betas=betas, fused=True, **shared)
        super().__init__(muon.param_groups + adamw.param_groups, shared)
        self._connect()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._connect()

    def _connect(self) -> None:
        """Let AdamW work on this one's group and state, which schedules and checkpoints see."""
        self._adamw = torch.optim.AdamW([self.param_groups[1]], fused=True)
        self._adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                self._move(parameter, parameter.grad)
        self._adamw.step()
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor) -> None:
        """Step as `torch.optim.Muon` does, which takes bfloat16, in the type that the device is fast with."""
        group, state = self.param_groups[0], self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        nesterov = gradient.lerp(average, group["momentum"])
        settings = (group["ns_coefficients"], group["ns_steps"], group["eps"])
        direction = orthogonalize(nesterov, *settings, dtype=orthogonalization_type(parameter.device))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        # As large as AdamW's steps usually are.
        parameter.add_(direction, alpha=-group["lr"] * 0.2 * math.sqrt(max(parameter.shape)))


def orthogonalization_type(device: torch.device) -> torch.dtype:
    """Choose bfloat16, as Muon's authors do, where a device has it, else float32, then 60 times as fast."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return torch.bfloat16 if native else torch.float32


def orthogonalize(
    matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float, *, dtype: torch.dtype
) -> Tensor:
    """Bring a matrix's singular values near 1, by the iteration of Newton and Schulz with a quintic."""
    a, b, c = coefficients
    wide = matrix.T if matrix.size(0) > matrix.size(1) else matrix
    result = wide.to(dtype)
    result = result / result.norm().clamp(min=eps)
    for _ in range(steps):
        gram = result @ result.T
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        result = torch.addmm(result, polynomial, result, beta=a)
    return result.T if wide is not matrix else result
