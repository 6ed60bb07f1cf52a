"""Figure 5: training with each norm."""

from matplotlib.figure import Figure

from bnopt.figures import _drawing, _panels


def draw(over_seeds, first_seed, *, conditions):
    """Return a panel per task: training accuracy in % of the VGGs, training loss of other networks."""
    del first_seed
    of_task = _panels.by_task(conditions)
    figure = Figure(figsize=(_drawing.WIDTH, 2.5))
    axes = figure.subplots(1, len(of_task), squeeze=False)[0]
    titles = _panels.lettered(of_task)
    for ax, (task, shown) in zip(axes, of_task.items(), strict=True):
        quantity, factor, label, scale = _panels.training(task)
        ax.set(title=f"{titles[task]}: {label}", xlabel="Steps", yscale=scale)
        for name, condition in shown.items():
            _drawing.curve(
                ax, over_seeds["training"], name, quantity, factor=factor,
                label=_drawing.label(condition), **_drawing.style(condition),
            )  # fmt: skip
        _panels.fit(ax)
    _drawing.legend(figure, axes[0])
    return figure
