"""Batch normalisation (Ioffe and Szegedy, 2015)."""

import torch
from torch import nn
from torch.nn import functional


class BatchNorm(nn.Module):
    """Normalise each unit over the batch, and over positions in convolutions.

    γ (y − μ) / √(σ² + ε) + β, with μ and σ² of the batch in training and their running averages in
    evaluation. y: (batch, units) or (batch, units, height, width). Values, gradients and running
    statistics are those of `torch.nn.BatchNorm1d` and `BatchNorm2d`; one module serves both shapes.
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
        return functional.batch_norm(
            y,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )


def build(channels):
    """Return batch normalisation of `channels` units, with γ = 1 and β = 0."""
    return BatchNorm(channels)
