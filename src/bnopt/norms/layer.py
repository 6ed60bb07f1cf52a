"""Layer normalisation (Ba, Kiros and Hinton, 2016): GroupNorm with a single group."""

from bnopt.norms._group_norm import GroupNorm


def build(channels):
    """Return γ (y − μ) / √(σ² + ε) + β, with μ and σ² of a sample over all units and positions."""
    return GroupNorm(channels, groups=1)
