"""Figure 2: training and activations with noise after BatchNorm."""

from matplotlib.figure import Figure

from bnopt.figures import _drawing


def draw(over_seeds, first_seed, *, conditions, layers):
    """Return training accuracy in % (left) and the distributions of activations by layer and net (right)."""
    figure = Figure(figsize=(_drawing.WIDTH, 2.9))
    grid = figure.add_gridspec(
        len(layers["vgg"]), 1 + len(conditions), width_ratios=[1.7, *[1] * len(conditions)]
    )
    ax = figure.add_subplot(grid[:, 0])
    for name, condition in conditions.items():
        _drawing.curve(
            ax,
            over_seeds["training"],
            name,
            "accuracy",
            factor=100,
            label=_drawing.label(condition),
            **_drawing.style(condition),
        )
    ax.set(title="Training accuracy (%)", xlabel="Steps", ylim=(0, 102))
    _drawing.legend(figure, ax)
    axes = [
        [figure.add_subplot(grid[row, 1 + column]) for column in range(len(conditions))]
        for row in range(len(layers["vgg"]))
    ]
    _drawing.ridge_panels(axes, first_seed["activations"], conditions, layers["vgg"])
    return figure
