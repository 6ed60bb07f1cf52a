"""Figure 10: the landscape along the gradient for the deep linear networks."""

from bnopt.figures import _panels


def draw(over_seeds, first_seed, *, conditions):
    """Return (a) the loss band, (b) the predictiveness band, (c) the effective β, all on logarithmic axes."""
    del first_seed
    return _panels.landscape(over_seeds["along_gradient"], conditions, scales=("log", "log", "log"))
