"""The residual net, with or without embeddings of its numeric features."""

from typing import Any

import rtdl_revisiting_models
from torch import Tensor, nn

from canopy.nets.features import Features


class ResNet(nn.Module):
    """A net of residual blocks, each with batch normalisation, over numeric features and categories.

    A block adds to numbers of `width`, by a hidden layer of `hidden`; `options` are those of `Features`.

    Source: Gorishniy et al., Revisiting deep learning models for tabular data, 2021; the blocks are those
    of the authors' package `rtdl_revisiting_models`.
    """

    def __init__(
        self,
        *,
        n_outputs: int,
        n_blocks: int,
        width: int,
        hidden: int,
        hidden_dropout: float = 0.0,
        residual_dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.features = Features(**options)
        self.layers = rtdl_revisiting_models.ResNet(
            d_in=self.features.n_outputs,
            d_out=n_outputs,
            n_blocks=n_blocks,
            d_block=width,
            d_hidden=hidden,
            d_hidden_multiplier=None,
            dropout1=hidden_dropout,
            dropout2=residual_dropout,
        )

    def hidden_weights(self) -> list[Tensor]:
        parts = nn.ModuleList([self.layers.input_projection, self.layers.blocks])
        return [layer.weight for layer in parts.modules() if isinstance(layer, nn.Linear)]

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.features(numeric, categorical))
        return logits
