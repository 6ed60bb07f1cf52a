"""The division of batch normalisation without its centring."""

import torch

from bnopt.norms._affine import Affine, mean_and_variance, per_unit, unbiased


class Divide(Affine):
    """γ y / √(σ² + ε) + β, with σ², the variance around the mean, of the batch.

    In evaluation mode, σ² is a running average of unbiased variances, as in batch normalisation.
    """

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("average_var", torch.ones(channels))

    def forward(self, y):
        variance = self.average_var
        if self.training:
            _, variance = mean_and_variance(y)
            with torch.no_grad():
                self.average_var.lerp_(unbiased(variance, y), self.momentum)
        return super().forward(y * per_unit((variance + self.eps).rsqrt(), y))


def build(channels):
    """Return the division of `channels` units by their deviations, with γ = 1 and β = 0."""
    return Divide(channels)
