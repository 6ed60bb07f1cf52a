"""Weight normalisation (Salimans and Kingma, 2016): it acts on the weights of the linear map before it."""

import torch
from torch import nn
from torch.nn.utils import parametrize


class Normalised(nn.Module):
    """w = g v / ‖v‖ per unit; v and g are learnt.

    At the start v = w and g = ‖w‖, which changes no value except by rounding. Values and gradients equal
    those of `torch.nn.utils.parametrizations.weight_norm`. Its second derivatives are wrong on CPUs (seen
    with PyTorch 2.14), and the curvature of the loss needs them.
    """

    def __init__(self, weight):
        super().__init__()
        self.gain = nn.Parameter(_lengths(weight.detach()))

    def forward(self, v):
        return self.gain * v / _lengths(v)


def _lengths(weight):
    """Return the Euclidean length of the weights of each unit."""
    return torch.linalg.vector_norm(weight, dim=list(range(1, weight.dim())), keepdim=True)


def build(channels):
    """Return the identity: outputs are not normalised."""
    del channels
    return nn.Identity()


def reparametrise(linear):
    """Make a linear map compute its weights from directions and lengths (`Normalised`)."""
    parametrize.register_parametrization(linear, "weight", Normalised(linear.weight))
