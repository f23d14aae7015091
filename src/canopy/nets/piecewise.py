"""Piecewise-linear embeddings of numeric features, their bins taken from the data's quantiles."""

import torch
from rtdl_num_embeddings import PiecewiseLinearEmbeddings

from canopy.nets.features import Quantiles


class PiecewiseLinear(PiecewiseLinearEmbeddings):  # type: ignore[misc]
    """Embed each numeric feature by where it lies in bins that hold equally many training rows.

    Source: Gorishniy et al., On embeddings for numerical features in tabular deep learning, 2022.

    Args:
        n_numeric: Numeric features N.
        quantiles: Of each feature on the training rows, in equal steps from the smallest value to the
            largest; shape (N, Q).
        n_bins: Bins of a feature, at most; equal quantiles make one edge.
        d_embedding: Numbers D that a feature becomes.
        activation: Whether a ReLU follows.

    Shape:
        - input: (B, N)
        - output: (B, N, D)

    Raises:
        ValueError: If there are fewer quantiles than bins.

    Examples:
        >>> embedding = PiecewiseLinear(1, quantiles=[[0.0, 1.0, 1.0, 5.0, 9.0]], n_bins=2, d_embedding=4)
        >>> embedding(torch.tensor([[0.5], [7.0]])).shape
        torch.Size([2, 1, 4])
    """

    def __init__(
        self,
        n_numeric: int,
        *,
        quantiles: Quantiles,
        n_bins: int,
        d_embedding: int,
        activation: bool = False,
    ) -> None:
        found = torch.tensor(quantiles, dtype=torch.float32)
        if found.ndim != 2 or len(found) != n_numeric or not 1 < n_bins < found.shape[1]:
            raise ValueError(
                f"n_bins must be between 2 and the number of quantiles less one, of each of {n_numeric} "
                f"features; found {n_bins} and quantiles of shape {tuple(found.shape)}"
            )
        places = torch.linspace(0, found.shape[1] - 1, n_bins + 1).round().long()
        bins = [edges.unique() for edges in found[:, places]]
        super().__init__(bins, d_embedding, activation=activation, version="B")
