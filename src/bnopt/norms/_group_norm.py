"""Normalisation sample by sample, over groups of units; layer, group and instance are special cases."""

import torch

from bnopt.norms._affine import Affine


class GroupNorm(Affine):
    """Normalise each sample over the units of a group and their positions (Wu and He, 2018).

    γ (y − μ) / √(σ² + ε) + β, with a μ and a σ² per sample and group, the same in both modes. The units of
    a group are neighbours. A group of a single value has the output β. Values and gradients equal those of
    `torch.nn.GroupNorm`.
    """

    def __init__(self, channels, groups):
        super().__init__(channels)
        self.groups = groups

    def forward(self, y):
        # `functional.group_norm` would refuse a single sample whose groups have a single value.
        return torch.group_norm(y, self.groups, self.weight, self.bias, self.eps)
