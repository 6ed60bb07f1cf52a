"""Normalisation by the average ℓ2 norm before the shift of the mean."""

from bnopt.norms._lp_norm import LpNorm


def build(channels):
    """Return γ (y − μ) / (s + ε) + β with s the average ℓ2 norm of y, for `channels` units."""
    return LpNorm(channels, p=2)
