"""Normalisation by the average ℓ∞ norm before the shift of the mean."""

import math

from bnopt.norms._lp_norm import LpNorm


def build(channels):
    """Return γ (y − μ) / (s + ε) + β with s the average ℓ∞ norm of y, for `channels` units."""
    return LpNorm(channels, p=math.inf)
