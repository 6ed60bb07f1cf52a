"""Figure 6: the distributions of activations with each norm."""

from bnopt.figures import _drawing


def draw(over_seeds, first_seed, *, conditions, layers):
    """Return the values that enter the non-linearity over training: a row per layer, a column per norm."""
    del over_seeds
    return _drawing.ridge_grid(first_seed["activations"], conditions, layers["vgg"])
