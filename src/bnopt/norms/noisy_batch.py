"""Batch normalisation followed by the noise of Algorithm 1: the paper's "noisy" BatchNorm."""

from torch import nn

from bnopt.norms import batch, noise


def build(channels):
    """Return batch normalisation of `channels` units, followed by noise."""
    return nn.Sequential(batch.build(channels), noise.build(channels))
