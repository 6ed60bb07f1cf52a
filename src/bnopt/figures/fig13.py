"""Figure 13: every norm on the deep linear network."""

from bnopt.figures import _panels


def draw(over_seeds, first_seed, *, conditions):
    """Return training loss, gradient predictiveness, loss variation and effective β, on logarithmic axes."""
    del first_seed
    return _panels.norms(
        over_seeds["training"], over_seeds["along_gradient"], conditions,
        quantity="loss", title="(a) Training loss", factor=1,
        scales=("log", "log", "log", "log"),
    )  # fmt: skip
