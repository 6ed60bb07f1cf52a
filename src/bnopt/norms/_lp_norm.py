"""Normalisation by an average ℓp norm; the norms l1, l2 and linf are special cases."""

import torch
from torch import nn


class LpNorm(nn.Module):
    """Centre each unit over the batch (and positions), and divide by the average ℓp norm of its raw values.

    γ (y − μ) / (s + ε) + β with s = (mean |y|ᵖ)^{1/p}; for p = ∞, s is the maximum of |y|. s is computed
    before centring (Section 3.3 of the paper: "before" the shift of the mean). In evaluation mode, μ and
    s are running averages. y: (batch, units) or (batch, units, height, width).
    """

    eps = 1.0e-5
    momentum = 0.1

    def __init__(self, channels, p):
        super().__init__()
        self.p = p
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_scale", torch.ones(channels))

    def forward(self, y):
        if self.training:
            values = y.transpose(0, 1).flatten(1)
            mean = values.mean(1)
            # The ℓp norm of n values is n^{1/p} times their average ℓp norm; 1/∞ is 0.
            scale = torch.linalg.vector_norm(values, self.p, dim=1) / values.shape[1] ** (1 / self.p)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_scale.lerp_(scale, self.momentum)
        else:
            mean, scale = self.running_mean, self.running_scale
        shape = [1, -1, *[1] * (y.dim() - 2)]
        factor = (self.weight / (scale + self.eps)).view(shape)
        return (y - mean.view(shape)) * factor + self.bias.view(shape)
