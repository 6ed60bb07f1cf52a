"""The paper's Algorithm 1: noise whose mean and variance change at every step."""

import torch
from torch import nn

from bnopt.run import streams


class Noise(nn.Module):
    """Disturb each unit by a random affine map, newly drawn at every step (Algorithm 1).

    Per unit j: μ_j ~ U(−0.5, 0.5), σ_j ~ U(1, 1.25). Then for each sample i (and position) of the
    unit: m ~ U(μ_j − 0.1, μ_j + 0.1), s ~ N(σ_j, 0.1), a ← s·a + m. Here 0.1 is the standard deviation
    of s. In evaluation mode the module is the identity.

    The caller sets `stream` to (seed, step, layer). A forward pass is a function of `stream` and y, so
    repeated passes of one step see the same noise.
    """

    mean_range = 0.5
    scale_range = (1.0, 1.25)
    mean_jitter = 0.1
    scale_jitter = 0.1

    def __init__(self):
        super().__init__()
        self.stream = (0, 0, 0)

    def forward(self, y):
        if not self.training:
            return y
        seed, step, layer = self.stream
        generator = streams.generator(seed, "noise", step, layer, device=y.device)

        def uniform(low, high, size):
            draw = torch.rand(size, generator=generator, device=y.device, dtype=y.dtype)
            return low + (high - low) * draw

        units = [1, y.shape[1], *[1] * (y.dim() - 2)]
        mean = uniform(-self.mean_range, self.mean_range, units)
        scale = uniform(*self.scale_range, units)
        offset = uniform(mean - self.mean_jitter, mean + self.mean_jitter, y.shape)
        normal = torch.randn(y.shape, generator=generator, device=y.device, dtype=y.dtype)
        return (scale + self.scale_jitter * normal) * y + offset


def build(channels):
    """Return the noise without a norm: the paper's control on the plain network."""
    del channels
    return Noise()
