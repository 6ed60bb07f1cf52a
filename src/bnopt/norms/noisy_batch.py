"""Batch normalisation followed by Algorithm 1's noise: the paper's "noisy" BatchNorm."""

from torch import nn

from bnopt.norms import batch, noise


def build(channels):
    """Return batch normalisation whose output is disturbed by noise."""
    return nn.Sequential(batch.build(channels), noise.build(channels))
