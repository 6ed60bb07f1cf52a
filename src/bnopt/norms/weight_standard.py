"""Weight standardisation (Qiao et al., 2019): it acts on the weights of the linear map before it."""

import torch
from torch import nn
from torch.nn.utils import parametrize


class Standardised(nn.Module):
    """w = g (v − μ) / √(σ² + ε) + c per unit, with μ and σ² of the unit's v.

    At the start v = w, g = √(σ² + ε) and c = μ, which changes no value except by rounding. v and g are
    learnt. c is a constant: the mean of a unit's weights never changes. Qiao et al. have neither g nor c,
    because a norm follows; here none does. Without c the net would compute another function at the start.
    """

    eps = 1.0e-5

    def __init__(self, weight):
        super().__init__()
        mean, variance = _moments(weight.detach())
        self.gain = nn.Parameter((variance + self.eps).sqrt())
        self.register_buffer("centre", mean)

    def forward(self, v):
        mean, variance = _moments(v)
        return self.gain * ((v - mean) * (variance + self.eps).rsqrt()) + self.centre


def _moments(weight):
    """Return mean and variance of the weights of each unit; the variance divides by their number."""
    variance, mean = torch.var_mean(weight, dim=list(range(1, weight.dim())), correction=0, keepdim=True)
    return mean, variance


def build(channels):
    """Return the identity: outputs are not normalised."""
    del channels
    return nn.Identity()


def reparametrise(linear):
    """Make a linear map compute its weights from standardised ones (`Standardised`)."""
    parametrize.register_parametrization(linear, "weight", Standardised(linear.weight))
