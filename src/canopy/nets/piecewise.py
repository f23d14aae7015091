"""Piecewise-linear embeddings of numeric features, their bins taken from the data's quantiles."""

from collections.abc import Sequence

import torch
from rtdl_num_embeddings import PiecewiseLinearEmbeddings
from torch import Tensor

from canopy.nets.features import Quantiles


class PiecewiseLinear(PiecewiseLinearEmbeddings):  # type: ignore[misc]
    """Embed each numeric feature by where it lies in bins between values of training rows.

    Source: Gorishniy et al., On embeddings for numerical features in tabular deep learning, 2022.

    From (B, N) to (B, N, D), where D is `d_embedding`. A feature has at most `n_bins` bins, and one less than
    it has different quantiles; a ReLU follows with `activation`.
    """

    def __init__(
        self, n_numeric: int, *, quantiles: Quantiles, n_bins: int, d_embedding: int, activation: bool = False
    ) -> None:
        edges = [choose_edges(values, n_bins) for values in quantiles]
        super().__init__(edges, d_embedding, activation=activation, version="B")


def choose_edges(quantiles: Sequence[float], n_bins: int) -> Tensor:
    """Choose the edges of a feature's bins."""
    found: Tensor = torch.tensor(quantiles, dtype=torch.float32).unique()  # type: ignore[no-untyped-call]
    if len(found) == 1:
        # A constant: one bin that it begins.
        return torch.stack([found[0], found[0] + 1])
    places = torch.linspace(0, len(found) - 1, min(n_bins + 1, len(found))).round().long()
    return found[places]
