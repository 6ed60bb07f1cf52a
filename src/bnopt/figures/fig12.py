"""Figure 12: every norm on the vgg net."""

from bnopt.figures import _panels


def draw(over_seeds, first_seed, *, conditions):
    """Return training accuracy in %, gradient predictiveness, loss variation and effective β."""
    del first_seed
    return _panels.norms(
        over_seeds["training"], over_seeds["along_gradient"], conditions,
        quantity="accuracy", title="(a) Training accuracy (%)", factor=100,
        scales=("linear", "linear", "log", "linear"),
    )  # fmt: skip
