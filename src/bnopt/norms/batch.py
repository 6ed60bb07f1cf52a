"""Batch normalisation (Ioffe and Szegedy, 2015)."""

import torch
from torch import nn


class BatchNorm(nn.Module):
    """Normalise each unit over the batch and, in convolutions, over positions.

    γ (y − μ) / √(σ² + ε) + β. In training mode, μ and σ² are those of the batch; in evaluation mode, they
    are running averages. y: (batch, units) or (batch, units, height, width). Values, gradients and
    running statistics equal those of `torch.nn.BatchNorm1d` and `BatchNorm2d`; one module accepts both
    shapes.
    """

    eps = 1.0e-5
    momentum = 0.1

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, y):
        # On GPUs `functional.batch_norm` would use cuDNN's kernels, which limit the range of values in
        # channels_last layout; far along the gradient, values are large.
        normalised, _, _ = torch.native_batch_norm(
            y,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            self.training,
            self.momentum,
            self.eps,
        )
        return normalised


def build(channels):
    """Return batch normalisation of `channels` units, with γ = 1 and β = 0."""
    return BatchNorm(channels)
