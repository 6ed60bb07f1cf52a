"""Figure 5: training with each norm."""

from matplotlib.figure import Figure

from bnopt.figures import _drawing, _panels

PANELS = {
    "vgg": ("accuracy", 100, "(a) VGG: training accuracy (%)", "linear"),
    "deep_linear": ("loss", 1, "(b) Deep linear network: training loss", "log"),
}


def draw(over_seeds, first_seed, *, conditions):
    """Return a panel per task: training accuracy in % of the VGGs, training loss of the linear networks."""
    del first_seed
    tasks = [task for task in PANELS if task in {c["task"] for c in conditions.values()}]
    figure = Figure(figsize=(_drawing.WIDTH, 2.5))
    axes = figure.subplots(1, len(tasks), squeeze=False)[0]
    for ax, task in zip(axes, tasks, strict=True):
        quantity, factor, title, scale = PANELS[task]
        ax.set(title=title, xlabel="Steps", yscale=scale)
        for name, condition in conditions.items():
            if condition["task"] == task:
                _drawing.curve(
                    ax, over_seeds["training"], name, quantity, factor=factor,
                    label=_drawing.label(condition), **_drawing.style(condition),
                )  # fmt: skip
        _panels.fit(ax)
    _drawing.legend(figure, axes[0])
    return figure
