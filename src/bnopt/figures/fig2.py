"""Figure 2: training and activations with noise after BatchNorm."""

from matplotlib.figure import Figure

from bnopt import drawing


def draw(over_seeds, first_seed, *, conditions, layers):
    """Return training accuracy in % (left) and the activations of each layer and net (right)."""
    figure = Figure(figsize=(9, 3.6))
    grid = figure.add_gridspec(len(layers), 1 + len(conditions), width_ratios=[1.7, *[1] * len(conditions)])
    ax = figure.add_subplot(grid[:, 0])
    for name, condition in conditions.items():
        drawing.curve(
            ax,
            over_seeds["training"],
            name,
            "accuracy",
            factor=100,
            label=drawing.label(condition),
            **drawing.style(condition),
        )
    ax.set(title="Training accuracy (%)", xlabel="Steps", ylim=(0, 102))
    ax.legend(loc="lower right", fontsize="x-small")
    for row, layer in enumerate(layers):
        for column, (name, condition) in enumerate(conditions.items(), start=1):
            ax = figure.add_subplot(grid[row, column])
            rows = drawing.at_entry(first_seed["activations"], name, layer)
            drawing.ridges(ax, rows, **drawing.style(condition))
            if row == 0:
                ax.set_title(drawing.label(condition), fontsize="small")
            if column == 1:
                ax.set_ylabel(drawing.layer_title(layers, layer))
    return figure
