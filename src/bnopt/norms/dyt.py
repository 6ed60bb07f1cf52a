"""Dynamic tanh (Zhu, Chen, He, LeCun and Liu, 2025): a norm without statistics."""

import torch
from torch import nn

from bnopt.norms._affine import Affine


class DynamicTanh(Affine):
    """γ tanh(α y) + β, with one learnt α per layer, 0.5 at the start."""

    def __init__(self, channels):
        super().__init__(channels)
        self.alpha = nn.Parameter(torch.tensor(0.5))

    def forward(self, y):
        return super().forward(torch.tanh(self.alpha * y))


def build(channels):
    """Return dynamic tanh of `channels` units, with α = 0.5, γ = 1 and β = 0."""
    return DynamicTanh(channels)
