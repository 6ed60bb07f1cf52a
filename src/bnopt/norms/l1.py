"""Normalisation by the average ℓ1 norm, computed before centring."""

import numpy as np

from bnopt.norms._lp_norm import LpNorm


def build(channels):
    """Return γ (y − μ) / (s + ε) + β for `channels` units, where s is the average ℓ1 norm of y."""
    return LpNorm(channels, p=1)


def virtual_scale(y, rotation, eps):
    """Return s + ε, its gradient, and s: the norm in `tasks/_virtual_samples.py`."""
    slope = rotation.T @ np.sign(rotation @ y) / len(rotation)
    scale = (slope * y).sum(-2, keepdims=True)
    return scale + eps, slope, scale
