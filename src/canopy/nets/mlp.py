"""The multilayer perceptron, with or without embeddings of its numeric features."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from canopy.nets.features import Features


class MLP(nn.Module):
    """A multilayer perceptron over numeric features and categories.

    Args:
        n_outputs: Outputs K.
        hidden: Width of each hidden layer.
        activation: Nonlinearity, by its name in `torch.nn`.
        dropout: Share of each hidden layer's outputs that is left out in training.
        options: Those of `Features`.
    """

    def __init__(
        self,
        *,
        n_outputs: int,
        hidden: Sequence[int],
        activation: str = "SiLU",
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.features = Features(**options)
        widths = [self.features.n_outputs, *hidden]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), getattr(nn, activation)()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], n_outputs))

    def hidden_weights(self) -> list[Tensor]:
        """List the matrices of the hidden layers, which Muon treats separately."""
        return [layer.weight for layer in list(self.layers)[:-1] if isinstance(layer, nn.Linear)]

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.features(numeric, categorical))
        return logits
