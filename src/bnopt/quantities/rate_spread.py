"""The spread of the loss over runs at several learning rates, per step."""

import numpy as np


def per_step(table):
    """Return loss_variation = loss_max − loss_min per step; ∞ at steps at which a run has diverged."""
    finite = np.isfinite(table["loss_max"])
    width = table["loss_max"].where(finite, 0) - table["loss_min"].where(finite, 0)
    return table[["condition", "seed", "step"]].assign(loss_variation=width.where(finite, np.inf))
