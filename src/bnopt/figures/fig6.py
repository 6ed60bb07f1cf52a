"""Figure 6: the distributions of activations with each norm."""

from bnopt.figures import _drawing


def draw(over_seeds, first_seed, *, conditions, layers):
    """Return a column per norm, a row per layer: what enters the non-linearity over training."""
    del over_seeds
    return _drawing.ridge_grid(first_seed["activations"], conditions, layers["vgg"])
