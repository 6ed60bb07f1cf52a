"""Noisy BatchNorm with 0.1 read as the variance of Algorithm 1's scale: the paper's other reading."""

import math

from torch import nn

from bnopt.norms import batch, noise


def build(channels):
    """Return batch normalisation whose output is disturbed by noise, s ~ N(σ, 0.1) of variance 0.1."""
    disturbed = noise.build(channels)
    disturbed.scale_jitter = math.sqrt(disturbed.scale_jitter)
    return nn.Sequential(batch.build(channels), disturbed)
