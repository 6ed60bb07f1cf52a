"""Figure 6: the distributions of activations with each norm."""

from bnopt import drawing


def draw(over_seeds, first_seed, *, conditions, layers):
    """Return a column per norm, a row per layer: what enters the non-linearity over training."""
    del over_seeds
    return drawing.ridge_grid(first_seed["activations"], conditions, layers["vgg"])
