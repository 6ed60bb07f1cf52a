"""Figure 12: every norm on the vgg net."""

from bnopt import panels


def draw(over_seeds, first_seed, *, conditions):
    """Return training accuracy in %, gradient predictiveness, loss variation and effective β."""
    del first_seed
    return panels.norms(
        over_seeds["training"], over_seeds["along_gradient"], conditions,
        quantity="accuracy", title="(a) Training accuracy (%)", factor=100,
        scales=("linear", "linear", "log", "linear"),
    )  # fmt: skip
