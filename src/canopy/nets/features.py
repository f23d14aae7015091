"""The entrance of every net: numeric features and categories to one flat row of numbers."""

from collections.abc import Callable, Sequence
from inspect import signature

import torch
from torch import Tensor, nn

Quantiles = Sequence[Sequence[float]]


class Features(nn.Module):
    """Embed numeric features, encode categories, and put all side by side.

    Args:
        n_numeric: Numeric features N.
        cardinalities: Number of categories of each categorical feature, C of them.
        quantiles: Quantiles of each numeric feature on the training rows, N of them.
        embedding: Makes the embeddings of the numeric features: called with N, and with `quantiles` if it
            takes them, it returns a module from (B, N) to (B, N, D). Without one the features enter as
            they are.

    Attributes:
        widths: Numbers that stand for each feature, N + C of them.
        n_outputs: Width W of a row, their sum.

    Shape:
        - numeric: (B, N), float
        - categorical: (B, C), int64 codes
        - output: (B, W)
    """

    def __init__(
        self,
        *,
        n_numeric: int,
        cardinalities: Sequence[int],
        quantiles: Quantiles = (),
        embedding: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.embedding = make_embedding(embedding, n_numeric=n_numeric, quantiles=quantiles) or nn.Identity()
        self.one_hot = OneHot(cardinalities)
        with torch.no_grad():
            n_embedded = self.embedding(torch.zeros(1, n_numeric)).numel() if n_numeric else 0
        self.widths = [n_embedded // n_numeric] * n_numeric if n_numeric else []
        self.widths += cardinalities
        self.n_outputs = sum(self.widths)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        return torch.cat([self.embedding(numeric).flatten(1), self.one_hot(categorical)], dim=1)


def make_embedding(
    embedding: Callable[..., nn.Module] | None, *, n_numeric: int, quantiles: Quantiles
) -> nn.Module | None:
    """Make the embeddings of the numeric features, if there are both."""
    if embedding is None or not n_numeric:
        return None
    if "quantiles" in signature(embedding).parameters:
        return embedding(n_numeric, quantiles=quantiles)
    return embedding(n_numeric)


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
        if cardinalities:
            # Torch cannot export a buffer without elements.
            self.register_buffer("offsets", sizes.cumsum(0)[:-1], persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        zeros = torch.zeros(codes.shape[0], self.n_outputs, device=codes.device)
        if not self.n_outputs:
            return zeros
        return zeros.scatter(1, codes + self.offsets, 1.0)
