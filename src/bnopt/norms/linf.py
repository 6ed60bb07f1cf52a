"""Normalisation by the average ℓ∞ norm, computed before centring."""

import math

import numpy as np

from bnopt.norms._lp_norm import LpNorm


def build(channels):
    """Return γ (y − μ) / (s + ε) + β for `channels` units, where s is the average ℓ∞ norm of y."""
    return LpNorm(channels, p=math.inf)


def virtual_scale(y, rotation, eps):
    """Return s + ε, its gradient, and s: the norm in `tasks/_virtual_samples.py`.

    If several samples of a unit have the largest |y|, the gradient is that of the first of them. Autograd
    averages over them.
    """
    largest = np.abs(y.mT @ rotation.T).argmax(-1)
    slope = rotation[largest].mT
    extreme = (slope * y).sum(-2, keepdims=True)
    scale = np.abs(extreme)
    return scale + eps, np.sign(extreme) * slope, scale
