import torch

from canopy.nets.mlp import MLP


def test_without_hidden_layers_it_is_linear() -> None:
    net = MLP(n_numeric=2, cardinalities=[3], n_classes=2, hidden=[])
    linear = net.layers[0]
    expected = torch.tensor([[0.5, -1.0, 0, 0, 1]]) @ linear.weight.T + linear.bias
    torch.testing.assert_close(net(torch.tensor([[0.5, -1.0]]), torch.tensor([[2]])), expected)
