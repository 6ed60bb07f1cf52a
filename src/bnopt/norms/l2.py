"""Normalisation by the average ℓ2 norm, computed before centring."""

import numpy as np

from bnopt.norms._lp_norm import LpNorm


def build(channels):
    """Return γ (y − μ) / (s + ε) + β for `channels` units, where s is the average ℓ2 norm of y."""
    return LpNorm(channels, p=2)


def virtual_scale(y, rotation, eps):
    """Return s + ε, its gradient (0 at y = 0), and s: the norm in `tasks/_virtual_samples.py`."""
    samples = len(rotation)
    scale = np.sqrt((y**2).sum(-2, keepdims=True) / samples)
    slope = y / np.maximum(samples * scale, np.finfo(float).tiny)
    return scale + eps, slope, scale
