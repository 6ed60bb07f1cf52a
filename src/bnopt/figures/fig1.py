"""Figure 1: training with and without BatchNorm, and the distributions of activations."""

import itertools

from matplotlib.figure import Figure

from bnopt.figures import _drawing

# A colour per learning rate, from the smallest up. The first two are the paper's red and green, the green so
# dark that grey prints differ too.
RATES = ("#D55E00", "#005A43", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9")


def draw(over_seeds, first_seed, *, conditions, layers):
    """Return (a) training and (b) test accuracy in %, and (c) the distributions of activations."""
    figure = Figure(figsize=(_drawing.WIDTH, 2.4))
    grid = figure.add_gridspec(len(layers["vgg"]), 4, width_ratios=[1.25, 1.25, 0.8, 0.8])
    colours = dict(zip(sorted({c["lr"] for c in conditions.values()}), itertools.cycle(RATES), strict=False))

    def look(condition):
        return {
            "color": colours[condition["lr"]],
            "linestyle": "--" if condition["norm"] == "batch" else "-",
        }

    for column, (title, quantity) in enumerate(
        [("(a) Training accuracy (%)", "accuracy"), ("(b) Test accuracy (%)", "test_accuracy")]
    ):
        ax = figure.add_subplot(grid[:, column])
        for name, condition in conditions.items():
            _drawing.curve(
                ax,
                over_seeds["training"],
                name,
                quantity,
                factor=100,
                **look(condition),
                label=f"{_drawing.label(condition)}, lr {condition['lr']:g}",
            )
        ax.set(title=title, xlabel="Steps", ylim=(0, 102))
    _drawing.legend(figure, ax)

    activations = first_seed["activations"]
    shown = {n: c for n, c in conditions.items() if n in set(activations["condition"])}
    axes = [
        [figure.add_subplot(grid[row, 2 + column]) for column in range(len(shown))]
        for row in range(len(layers["vgg"]))
    ]
    if shown:  # no run has activations if all diverged at once
        _drawing.ridge_panels(axes, activations, shown, layers["vgg"], look=look)
        axes[0][0].set_title("(c) " + axes[0][0].get_title(), fontsize="small")
    return figure
