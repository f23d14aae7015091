"""The multilayer perceptron, with or without embeddings of its numeric features."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["ReLU", "SiLU", "GELU"]


class MLP(nn.Module):
    """A multilayer perceptron over numeric features and categories.

    Args:
        n_numeric: Numeric features N.
        cardinalities: Number of categories of each categorical feature, C of them.
        n_classes: Outputs K.
        hidden: Width of each hidden layer.
        activation: Nonlinearity, by its name in `torch.nn`.
        dropout: Share of each hidden layer's outputs that is left out in training.
        embedding: Makes the embeddings of the numeric features: called with N, it returns a module
            from (B, N) to (B, N, D). Without one the features enter as they are.

    Shape:
        - numeric: (B, N), float
        - categorical: (B, C), int64 codes
        - output: (B, K), logits

    Examples:
        >>> net = MLP(n_numeric=3, cardinalities=[2, 5], n_classes=7, hidden=[16])
        >>> net(torch.rand(4, 3), torch.zeros(4, 2, dtype=torch.int64)).shape
        torch.Size([4, 7])
    """

    def __init__(
        self,
        *,
        n_numeric: int,
        cardinalities: Sequence[int],
        n_classes: int,
        hidden: Sequence[int],
        activation: Activation = "SiLU",
        dropout: float = 0.0,
        embedding: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.embedding: nn.Module = nn.Identity()
        n_inputs = n_numeric
        if embedding is not None and n_numeric:
            self.embedding = embedding(n_numeric)
            with torch.no_grad():
                n_inputs = self.embedding(torch.zeros(1, n_numeric)).numel()
        self.one_hot = OneHot(cardinalities)
        widths = [n_inputs + sum(cardinalities), *hidden]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), getattr(nn, activation)()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], n_classes))

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        inputs = torch.cat([self.embedding(numeric).flatten(1), self.one_hot(categorical)], dim=1)
        logits: Tensor = self.layers(inputs)
        return logits


class OneHot(nn.Module):
    """Turn the codes of several categorical features into one row of zeros and ones.

    Args:
        cardinalities: Number of categories of each feature, C of them.

    Shape:
        - codes: (B, C), int64, each below its feature's number of categories
        - output: (B, sum(cardinalities)), float32

    Examples:
        >>> OneHot([2, 3])(torch.tensor([[1, 0]]))
        tensor([[0., 1., 1., 0., 0.]])
    """

    offsets: Tensor

    def __init__(self, cardinalities: Sequence[int]) -> None:
        super().__init__()
        sizes = torch.tensor([0, *cardinalities], dtype=torch.int64)
        self.n_outputs = int(sizes.sum())
        self.register_buffer("offsets", sizes.cumsum(0)[:-1], persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        zeros = torch.zeros(len(codes), self.n_outputs, device=codes.device)
        return zeros.scatter(1, codes + self.offsets, 1.0)
