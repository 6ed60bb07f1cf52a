"""Ghost batch normalisation (Hoffer, Hubara and Soudry, 2017): batch normalisation of parts of the batch."""

import torch

from bnopt.norms._affine import Affine, per_unit

PART = 16


class GhostNorm(Affine):
    """Batch normalisation of parts of PART samples each, in the order of the batch; γ and β are shared.

    γ (y − μ) / √(σ² + ε) + β, with μ and σ² of the part. A remainder of fewer than PART samples joins the
    last part. In evaluation mode, μ and σ² are running averages; a step moves them towards the mean, over
    the parts, of the parts' means and unbiased variances.
    """

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("parts_mean", torch.zeros(channels))
        self.register_buffer("parts_var", torch.ones(channels))

    def forward(self, y):
        if not self.training:
            scale = (self.parts_var + self.eps).rsqrt()
            return super().forward((y - per_unit(self.parts_mean, y)) * per_unit(scale, y))
        outputs, means, variances = zip(*map(self._normalise, y.split(part_sizes(len(y)))), strict=True)
        with torch.no_grad():
            self.parts_mean.lerp_(torch.stack(means).mean(0), self.momentum)
            self.parts_var.lerp_(torch.stack(variances).mean(0), self.momentum)
        return torch.cat(outputs)

    def _normalise(self, part):
        """Return the output of a part, and its means and unbiased variances."""
        mean, variance = torch.zeros_like(self.parts_mean), torch.zeros_like(self.parts_var)
        # With a momentum of 1, running statistics are those of the part. See `batch.py` for the kernel.
        output, _, _ = torch.native_batch_norm(
            part, self.weight, self.bias, mean, variance, True, 1.0, self.eps
        )
        return output, mean, variance


def part_sizes(samples):
    """Return the number of samples of each part."""
    parts = max(samples // PART, 1)
    return [PART] * (parts - 1) + [samples - PART * (parts - 1)]


def build(channels):
    """Return ghost batch normalisation of `channels` units, with γ = 1 and β = 0."""
    return GhostNorm(channels)
