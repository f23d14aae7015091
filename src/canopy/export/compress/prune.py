"""Take whole neurons out of a net, so that it really gets smaller and faster."""

import copy
from itertools import pairwise

import torch
from torch import nn

from canopy.nets.mlp import MLP


@torch.no_grad()
def prune_neurons(net: MLP, *, keep: float) -> MLP:
    """Keep the neurons of each hidden layer that carry most.

    A neuron carries as much as the weights that lead to it times those that lead away from it.

    Args:
        net: A trained net; it stays as it is.
        keep: Share of each hidden layer's neurons that stays, above 0 and at most 1.

    Returns:
        A net with narrower layers. What the neurons that are gone gave is missing: train it again.

    Examples:
        >>> net = MLP(n_numeric=3, cardinalities=[2], n_classes=7, hidden=[16, 8])
        >>> pruned = prune_neurons(net, keep=0.25)
        >>> [layer.out_features for layer in pruned.layers if isinstance(layer, nn.Linear)]
        [4, 2, 7]
    """
    pruned = copy.deepcopy(net)
    linear = [layer for layer in pruned.layers if isinstance(layer, nn.Linear)]
    for layer, following in pairwise(linear):
        n_kept = max(1, round(keep * layer.out_features))
        carried = layer.weight.norm(dim=1) * following.weight.norm(dim=0)
        kept = carried.topk(n_kept).indices.sort().values
        layer.weight, layer.bias = nn.Parameter(layer.weight[kept]), nn.Parameter(layer.bias[kept])
        following.weight = nn.Parameter(following.weight[:, kept])
        layer.out_features = following.in_features = n_kept
    return pruned
