"""A factor γ and an offset β per unit: the base of norms that end with γ (normalised value) + β."""

import torch
from torch import nn


class Affine(nn.Module):
    """γ y + β, with γ = 1 and β = 0 at the start. y: (batch, units) or (batch, units, height, width)."""

    eps = 1.0e-5
    momentum = 0.1

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, y):
        return y * per_unit(self.weight, y) + per_unit(self.bias, y)


def per_unit(values, y):
    """Return one value per unit in a shape that broadcasts over y."""
    return values.view(1, -1, *[1] * (y.dim() - 2))


def mean_and_variance(y):
    """Return μ and σ² of every unit, over the batch and positions; σ² divides by the number of values."""
    variance, mean = torch.var_mean(y, dim=all_but_units(y), correction=0)
    return mean, variance


def all_but_units(y):
    """Return the dimensions of the batch and of positions."""
    return [dimension for dimension in range(y.dim()) if dimension != 1]


def unbiased(variance, y):
    """Return σ² that divides by the number of values of a unit minus 1, as PyTorch's running variances do."""
    values = y.numel() // y.shape[1]
    return variance * (values / max(values - 1, 1))
