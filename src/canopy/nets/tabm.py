"""TabM: many perceptrons in one, which share most of their weights."""

from collections.abc import Callable, Sequence
from typing import Literal

import tabm
from torch import Tensor, nn

from canopy.nets.features import Quantiles, make_embedding


class TabM(nn.Module):
    """An ensemble of perceptrons with shared weights; each member predicts.

    Source: Gorishniy et al., TabM: advancing tabular deep learning with parameter-efficient ensembling,
    2025; the net is that of the authors' package `tabm`.

    Args:
        n_numeric: Numeric features N.
        cardinalities: Number of categories of each categorical feature, C of them.
        n_classes: Outputs K.
        quantiles: Quantiles of each numeric feature on the training rows.
        kind: `tabm`, where members scale the inputs and outputs of each layer, or `tabm-mini`, where they
            scale the inputs of the first one alone.
        n_members: Perceptrons M.
        n_blocks: Hidden layers.
        width: Width of each of them.
        activation: Nonlinearity, by its name in `torch.nn`.
        dropout: Share of each hidden layer's outputs that is left out in training.
        embedding: Makes the embeddings of the numeric features, one of `rtdl_num_embeddings`; see
            `Features`.

    Shape:
        - numeric: (B, N), float
        - categorical: (B, C), int64 codes
        - output: (B, M, K), logits of each member

    Examples:
        >>> import torch
        >>> net = TabM(n_numeric=3, cardinalities=[2], n_classes=7, n_members=4, n_blocks=1, width=8)
        >>> net(torch.rand(5, 3), torch.zeros(5, 1, dtype=torch.int64)).shape
        torch.Size([5, 4, 7])
    """

    def __init__(
        self,
        *,
        n_numeric: int,
        cardinalities: Sequence[int],
        n_classes: int,
        quantiles: Quantiles = (),
        kind: Literal["tabm", "tabm-mini"] = "tabm",
        n_members: int,
        n_blocks: int,
        width: int,
        activation: str = "ReLU",
        dropout: float = 0.0,
        embedding: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self._has_numeric = n_numeric > 0
        self._has_categorical = len(cardinalities) > 0
        self.layers = tabm.TabM.make(
            n_num_features=n_numeric,
            cat_cardinalities=[*cardinalities],
            d_out=n_classes,
            num_embeddings=make_embedding(embedding, n_numeric=n_numeric, quantiles=quantiles),
            arch_type=kind,
            k=n_members,
            n_blocks=n_blocks,
            d_block=width,
            activation=activation,
            dropout=dropout,
        )

    def hidden_weights(self) -> list[Tensor]:
        """List the matrices of the hidden layers, for optimisers that treat them by themselves."""
        return [linear.weight for linear, *_ in self.layers.backbone.blocks]

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        logits: Tensor = self.layers(
            numeric if self._has_numeric else None, categorical if self._has_categorical else None
        )
        return logits
