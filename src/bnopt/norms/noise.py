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

        def draw(function, size):
            return function(size, generator=generator, device=y.device, dtype=y.dtype)

        def draw_per_value(function):
            # The draws are in the order of the indices. Arithmetic is fastest in the memory order of y.
            return torch.empty_like(y).copy_(draw(function, y.shape))

        units = [1, y.shape[1], *[1] * (y.dim() - 2)]
        mean = _uniform(-self.mean_range, self.mean_range, draw(torch.rand, units))
        scale = _uniform(*self.scale_range, draw(torch.rand, units))
        jitter = draw_per_value(torch.rand)
        offset = _uniform(mean - self.mean_jitter, mean + self.mean_jitter, jitter)
        factor = draw_per_value(torch.randn).mul_(self.scale_jitter).add_(scale)
        return factor * y + offset


def _uniform(low, high, draw):
    """Turn draws from U(0, 1) into draws from U(low, high), in place."""
    return draw.mul_(high - low).add_(low)


def build(channels):
    """Return the noise without a norm: the paper's control on the plain network."""
    del channels
    return Noise()
