"""The residual net, with or without embeddings of its numeric features."""

from collections.abc import Callable, Sequence

import rtdl_revisiting_models
from torch import Tensor, nn

from canopy.nets.features import MAX_ONE_HOT, Features, Quantiles


class ResNet(nn.Module):
    """A net of residual blocks, each with batch normalisation, over numeric features and categories.

    Source: Gorishniy et al., Revisiting deep learning models for tabular data, 2021; the blocks are those
    of the authors' package `rtdl_revisiting_models`.

    Args:
        n_numeric: Numeric features N.
        cardinalities: Number of categories of each categorical feature, C of them.
        n_classes: Outputs K.
        quantiles: Quantiles of each numeric feature on the training rows.
        n_blocks: Residual blocks.
        width: Width of what a block adds to.
        hidden: Width of a block's hidden layer.
        hidden_dropout: Share of the hidden layer's outputs that is left out in training.
        residual_dropout: Share of a block's outputs that is left out in training.
        embedding: Makes the embeddings of the numeric features; see `Features`.
        max_one_hot: Most categories of a feature that enters as one-hot columns; one of more is embedded.
        d_category: Width of the embedding of a category; see `Features`.

    Shape:
        - numeric: (B, N), float
        - categorical: (B, C), int64 codes
        - output: (B, K), logits
    """

    def __init__(
        self,
        *,
        n_numeric: int,
        cardinalities: Sequence[int],
        n_classes: int,
        quantiles: Quantiles = (),
        n_blocks: int,
        width: int,
        hidden: int,
        hidden_dropout: float = 0.0,
        residual_dropout: float = 0.0,
        embedding: Callable[..., nn.Module] | None = None,
        max_one_hot: int = MAX_ONE_HOT,
        d_category: int | None = None,
    ) -> None:
        super().__init__()
        self.features = Features(
            n_numeric=n_numeric,
            cardinalities=cardinalities,
            quantiles=quantiles,
            embedding=embedding,
            max_one_hot=max_one_hot,
            d_category=d_category,
        )
        self.layers = rtdl_revisiting_models.ResNet(
            d_in=self.features.n_outputs,
            d_out=n_classes,
            n_blocks=n_blocks,
            d_block=width,
            d_hidden=hidden,
            d_hidden_multiplier=None,
            dropout1=hidden_dropout,
            dropout2=residual_dropout,
        )

    def hidden_weights(self) -> list[Tensor]:
        """List the matrices of the hidden layers, for optimisers that treat them separately."""
        return [
            layer.weight
            for part in (self.layers.input_projection, self.layers.blocks)
            for layer in part.modules()
            if isinstance(layer, nn.Linear)
        ]

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.features(numeric, categorical))
        return logits
