"""Batch normalisation with the statistics of earlier steps, a control (Ghorbani, Krishnan and Xiao, 2019)."""

import torch

from bnopt.norms._affine import Affine, mean_and_variance, per_unit


class FrozenNorm(Affine):
    """γ (y − μ) / √(σ² + ε) + β, with μ and σ² from before this step, constants for the gradient.

    A run starts with the μ and σ² of batch 0. After the update of each step, `settle` moves them a tenth of
    the way towards those of the step's batch at θ_t. Evaluation mode has the same formula. No pass
    changes μ and σ²: all passes of one step see the same values, on any batch and at any parameters. σ²
    divides by the number of values, so that step 0 has the outputs of batch normalisation.
    """

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("settled_mean", torch.zeros(channels))
        self.register_buffer("settled_var", torch.ones(channels))

    def forward(self, y):
        if self.training:
            self.observe(y)
        scale = (self.settled_var + self.eps).rsqrt()
        return super().forward((y - per_unit(self.settled_mean, y)) * per_unit(scale, y))

    def observe(self, y):
        """Remember the statistics of y for `settle`."""
        self.observed = mean_and_variance(y.detach())

    def settle(self, share=Affine.momentum):
        """Move the statistics towards those of the last pass in training mode, by a share of the way."""
        for statistic, latest in zip((self.settled_mean, self.settled_var), self.observed, strict=True):
            statistic.lerp_(latest, share)


def build(channels):
    """Return batch normalisation of `channels` units with statistics of earlier steps; γ = 1 and β = 0."""
    return FrozenNorm(channels)
