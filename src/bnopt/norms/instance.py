"""Instance normalisation (Ulyanov, Vedaldi and Lempitsky, 2016): each unit of each sample by itself."""

from bnopt.norms._affine import Affine
from bnopt.norms._group_norm import GroupNorm


class InstanceNorm(GroupNorm):
    """Normalise each unit of each sample over its positions: GroupNorm with one unit per group.

    γ (y − μ) / √(σ² + ε) + β. Where a unit has a single position, as in linear layers, there is nothing to
    normalise over, and the output is γ y + β. Few positions leave little: of the four values of a 2 x 2
    map only two degrees of freedom remain. Values and gradients equal those of `torch.nn.InstanceNorm2d`
    with γ and β.
    """

    def __init__(self, channels):
        super().__init__(channels, groups=channels)

    def forward(self, y):
        return super().forward(y) if y[0, 0].numel() > 1 else Affine.forward(self, y)


def build(channels):
    """Return instance normalisation of `channels` units, with γ = 1 and β = 0."""
    return InstanceNorm(channels)
