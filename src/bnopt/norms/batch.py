"""Batch normalisation (Ioffe and Szegedy, 2015)."""

import numpy as np
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


def virtual_scale(y, rotation, eps):
    """Return √(σ² + ε), its gradient, and the unbiased σ²: the norm in `tasks/_virtual_samples.py`."""
    samples = len(rotation)
    squares = (y[..., 1:, :] ** 2).sum(-2, keepdims=True)
    scale = np.sqrt(squares / samples + eps)
    slope = y / (samples * scale)
    slope[..., 0, :] = 0
    return scale, slope, squares / np.float64(samples - 1)
