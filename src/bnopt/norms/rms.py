"""Root mean square normalisation (Zhang and Sennrich, 2019): layer normalisation without centring."""

from bnopt.norms._affine import Affine


class RmsNorm(Affine):
    """γ y / √(m + ε) + β, with m the mean of y² of a sample over all units and positions.

    The same in both modes. Before γ and β, values equal those of `torch.nn.RMSNorm` over all units and
    positions.
    """

    def forward(self, y):
        mean_square = (y**2).mean(list(range(1, y.dim())), keepdim=True)
        return super().forward(y * (mean_square + self.eps).rsqrt())


def build(channels):
    """Return RMS normalisation of `channels` units, with γ = 1 and β = 0."""
    return RmsNorm(channels)
