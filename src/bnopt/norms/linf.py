"""Normalisation by the average ℓ∞ norm, computed before centring."""

import math

from bnopt.norms._lp_norm import LpNorm


def build(channels):
    """Return γ (y − μ) / (s + ε) + β for `channels` units, where s is the average ℓ∞ norm of y."""
    return LpNorm(channels, p=math.inf)
