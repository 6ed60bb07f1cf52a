"""Noisy BatchNorm where 0.1 is the variance of the scale in Algorithm 1: the other reading of the paper."""

import math

from torch import nn

from bnopt.norms import batch, noise


def build(channels):
    """Return batch normalisation of `channels` units, followed by noise whose scale s has variance 0.1."""
    disturbed = noise.build(channels)
    disturbed.scale_jitter = math.sqrt(disturbed.scale_jitter)
    return nn.Sequential(batch.build(channels), disturbed)
