"""Weight standardisation (Qiao et al., 2019): it acts on the weights of the linear map before it."""

import torch
from torch import nn
from torch.nn.utils import parametrize


class Standardised(nn.Module):
    """w = g (v − μ) / √(n (σ² + ε)) + c per unit, with μ and σ² of the unit's n entries of v.

    At the start v = w, g = √(n (σ² + ε)) and c = μ, which changes no value except by rounding. v and g are
    learnt. c is a constant: the mean of a unit's weights never changes. Qiao et al. have neither g nor c,
    because a norm follows; here none does. Without c the net would compute another function at the start.
    Without n (Brock et al., 2021), g would be n times as fast as the weights of the plain net.
    """

    eps = 1.0e-5

    def __init__(self, weight):
        super().__init__()
        mean, scale = self._statistics(weight.detach())
        self.gain = nn.Parameter(scale)
        self.register_buffer("centre", mean)

    def forward(self, v):
        mean, scale = self._statistics(v)
        return self.gain * (v - mean) / scale + self.centre

    def _statistics(self, v):
        """Return μ and √(n (σ² + ε)) of every unit."""
        dims = list(range(1, v.dim()))
        variance, mean = torch.var_mean(v, dim=dims, correction=0, keepdim=True)
        return mean, (v[0].numel() * (variance + self.eps)).sqrt()


def build(channels):
    """Return the identity: outputs are not normalised."""
    del channels
    return nn.Identity()


def reparametrise(linear):
    """Make a linear map compute its weights from standardised ones (`Standardised`)."""
    parametrize.register_parametrization(linear, "weight", Standardised(linear.weight))
