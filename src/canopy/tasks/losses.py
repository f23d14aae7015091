"""Losses besides those of torch, and weights of classes in any of them."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from canopy.schema.tensors import Schema


def focal_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Weigh the cross-entropy of a row by (1 - probability of its class) ** `gamma`: sure rows count little.

    Source: Lin et al., Focal loss for dense object detection, 2017.
    """
    losses = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    probabilities = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    # The derivative of a root is infinite at 0.
    losses = (1 - probabilities).clamp_min(1e-7) ** gamma * losses
    return losses.mean() if reduction == "mean" else losses


def make_class_weights(
    class_weights: str | Mapping[Any, float] | None, schema: Schema, *, counts_of: str = "train"
) -> Tensor | None:
    """Give the weight of each class, shape (K,), as configured: see `TabularModel`; None if all are equal.

    Balanced are the rows of `counts_of`, by their weights if they have any: with logit adjustment those
    before the cap, which it brings back.
    """
    if class_weights in (None, "none"):
        return None
    if class_weights == "balanced":
        counts = torch.tensor(schema.class_sizes[counts_of]).double()
        weights = counts.sum() / (counts > 0).sum() / counts
        return weights.where(counts > 0, 0.0).float()
    if not isinstance(class_weights, Mapping):
        raise ValueError(
            f"model.class_weights must be none, balanced or a weight for each class; got {class_weights!r}"
        )
    given = {str(name): float(weight) for name, weight in class_weights.items()}
    if {*given} != {*schema.class_names} or not all(0 < weight < float("inf") for weight in given.values()):
        names = ", ".join(schema.class_names)
        raise ValueError(f"model.class_weights must be a number above 0 for each of {names}; got {given}")
    return torch.tensor([given[name] for name in schema.class_names])
