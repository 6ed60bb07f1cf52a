"""The centring of batch normalisation without its division."""

import torch

from bnopt.norms._affine import Affine, all_but_units, per_unit


class Centre(Affine):
    """γ (y − μ) + β, with μ of the batch; in evaluation mode, μ is a running average."""

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("running_mean", torch.zeros(channels))

    def forward(self, y):
        mean = self.running_mean
        if self.training:
            mean = y.mean(all_but_units(y))
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
        return super().forward(y - per_unit(mean, y))


def build(channels):
    """Return the centring of `channels` units, with γ = 1 and β = 0."""
    return Centre(channels)
