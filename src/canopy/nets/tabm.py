"""TabM: many perceptrons in one, which share most of their weights."""

from typing import Any, Literal

import tabm
from torch import Tensor, nn

from canopy.nets.features import Features


class TabM(nn.Module):
    """An ensemble of perceptrons with shared weights; each member predicts.

    Source: Gorishniy et al., TabM: advancing tabular deep learning with parameter-efficient ensembling,
    2025; its layers are those of the authors' package `tabm`.

    Members scale the inputs and outputs of each layer (`tabm`) or the inputs of the first one alone
    (`tabm-mini`). There are `n_blocks` hidden layers; `options` are those of `Features`.
    """

    def __init__(
        self,
        *,
        n_outputs: int,
        kind: Literal["tabm", "tabm-mini"] = "tabm",
        n_members: int,
        n_blocks: int,
        width: int,
        activation: str = "ReLU",
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.features = Features(**options)
        self.n_members = n_members
        self.view = tabm.EnsembleView(k=n_members)
        # Members scale all numbers of one feature by the same factor; the authors' defaults.
        self.backbone = tabm.make_tabm_backbone(
            d_in=self.features.n_outputs,
            arch_type=kind,
            k=n_members,
            n_blocks=n_blocks,
            d_block=width,
            activation=activation,
            dropout=dropout,
            start_scaling_init="random-signs" if options.get("embedding") is None else "normal",
            start_scaling_init_chunks=self.features.widths,
        )
        self.output = tabm.LinearEnsemble(width, n_outputs, k=n_members)

    def hidden_weights(self) -> list[Tensor]:
        return [linear.weight for linear, *_ in self.backbone.blocks]

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        rows = self.view(self.features(numeric, categorical))
        logits: Tensor = self.output(self.backbone(rows))
        return logits
