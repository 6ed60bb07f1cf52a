"""Normalisation by the average ℓ2 norm, computed before centring."""

from bnopt.norms._lp_norm import LpNorm


def build(channels):
    """Return γ (y − μ) / (s + ε) + β for `channels` units, where s is the average ℓ2 norm of y."""
    return LpNorm(channels, p=2)
