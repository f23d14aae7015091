"""Several nets, of one kind or of several, trained side by side, whose predictions are averaged."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from canopy.nets.trees import Trees


class Ensemble(nn.Module):
    """`n_members` nets that differ in their first weights alone, each made with `options`; each predicts.

    Source: Lakshminarayanan et al., Simple and scalable predictive uncertainty estimation using deep
    ensembles, 2017.
    """

    def __init__(self, *, n_members: int, member: Callable[..., nn.Module], **options: Any) -> None:
        super().__init__()
        self.n_members = n_members
        self.members = nn.ModuleList(member(**options) for _ in range(n_members))

    def hidden_weights(self) -> list[Tensor]:
        return [weight for member in self.members for weight in member.hidden_weights()]  # type: ignore[operator]

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        return torch.stack([member(numeric, categorical) for member in self.members], dim=1)


class MixedEnsemble(nn.Module):
    """Nets of several kinds, each perhaps an ensemble itself; each member of each predicts.

    Nets that see their inputs in different ways err in different rows, so that their mean is better than
    that of as many of one kind. In training the logits of `Trees` are left out. `members` makes each kind by
    its name; null and a kind with `n_members` of 0 are left out.

    Attributes:
        member_weights: Of each member in the mean of their probabilities, shape (M,); their sum is 1.
    """

    member_weights: Tensor

    def __init__(self, *, members: Mapping[str, Callable[..., nn.Module] | None], **options: Any) -> None:
        super().__init__()
        made = {
            name: make(**options)
            for name, make in members.items()
            if make is not None and getattr(make, "keywords", {}).get("n_members") != 0
        }
        if not made:
            raise ValueError("model.net.members must name at least one net; got none")
        self.members = nn.ModuleDict(made)
        self._n_members = torch.tensor([getattr(net, "n_members", 1) for net in made.values()])
        n_members = int(self._n_members.sum())
        self.register_buffer("member_weights", torch.full((n_members,), 1 / n_members))

    def hidden_weights(self) -> list[Tensor]:
        return [weight for net in self.members.values() for weight in net.hidden_weights()]  # type: ignore[operator]

    @property
    def trees(self) -> dict[str, Trees]:
        return {name: net for name, net in self.members.items() if isinstance(net, Trees)}

    def weigh(self, weights: Tensor) -> None:
        """Set the weight of each kind of net, which its members share; their sum is 1."""
        self.member_weights.copy_((weights.cpu() / self._n_members).repeat_interleave(self._n_members))

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        return torch.cat(self.outputs(numeric, categorical), dim=1)

    def outputs(self, numeric: Tensor, categorical: Tensor) -> list[Tensor]:
        """Give the outputs (B, M, K) of each kind's M members."""
        # Gradients change no trees.
        nets = [net for net in self.members.values() if not (self.training and isinstance(net, Trees))]
        found = [net(numeric, categorical) for net in nets]
        return [each if each.ndim == 3 else each[:, None] for each in found]
