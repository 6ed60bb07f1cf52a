"""Dynamic tanh with α = 1 at the start: close to the identity for small values."""

from torch import nn

from bnopt.norms import dyt


def build(channels):
    """Return dynamic tanh of `channels` units, with α = 1, γ = 1 and β = 0."""
    module = dyt.build(channels)
    nn.init.ones_(module.alpha)
    return module
