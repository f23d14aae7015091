"""Take whole neurons out of a net, so that it really gets smaller and faster."""

import copy

from torch import Tensor, nn
from torch.nn.utils import prune

from canopy.nets.mlp import MLP


def narrow(net: MLP, *, keep: float) -> MLP:
    """Leave the neurons of each hidden layer that carry most.

    A neuron carries as much as the weights that lead to it times those that lead away from it.

    Args:
        net: A trained net; it stays as it is.
        keep: Share of each hidden layer's neurons that stays, above 0 and at most 1.

    Returns:
        A net with narrower layers. What the neurons that are gone gave is missing: train it again.

    Raises:
        ValueError: If the share is out of its range.

    Examples:
        >>> net = MLP(n_numeric=3, cardinalities=[2], n_classes=7, hidden=[16, 8])
        >>> [layer.out_features for layer in narrow(net, keep=0.25).layers if isinstance(layer, nn.Linear)]
        [4, 2, 7]
    """
    if not 0 < keep <= 1:
        raise ValueError(f"prune.keep must be above 0 and at most 1; found {keep}")
    narrower = copy.deepcopy(net)
    linear = [layer for layer in narrower.layers if isinstance(layer, nn.Linear)]
    kept_before: Tensor | None = None
    for layer, following in zip(linear, [*linear[1:], None], strict=True):
        if kept_before is not None:
            _keep_inputs(layer, kept_before)
        kept_before = None if following is None else _keep_outputs(layer, following, keep)
    return narrower


def _keep_outputs(layer: nn.Linear, following: nn.Linear, keep: float) -> Tensor:
    """Take neurons out of a layer; return the indices of those that stay."""
    n_gone = layer.out_features - max(1, round(keep * layer.out_features))
    importance = layer.weight.detach() * following.weight.detach().norm(dim=0)[:, None]
    prune.ln_structured(layer, "weight", n_gone, n=2, dim=0, importance_scores=importance)  # type: ignore[no-untyped-call]
    kept: Tensor = layer.get_buffer("weight_mask").any(dim=1).nonzero()[:, 0]
    prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
    layer.weight = nn.Parameter(layer.weight.detach()[kept])
    layer.bias = nn.Parameter(layer.bias.detach()[kept])
    layer.out_features = len(kept)
    return kept


def _keep_inputs(layer: nn.Linear, kept: Tensor) -> None:
    layer.weight = nn.Parameter(layer.weight.detach()[:, kept])
    layer.in_features = len(kept)
