"""Figure 4: the landscape along the gradient for the vgg nets."""

from bnopt.figures import _panels


def draw(over_seeds, first_seed, *, conditions):
    """Return (a) the loss band, on a logarithmic axis, (b) the predictiveness band, (c) the effective β."""
    del first_seed
    return _panels.landscape(over_seeds["along_gradient"], conditions, scales=("log", "linear", "linear"))
