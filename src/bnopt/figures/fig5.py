"""Figure 5: training with each norm."""

from matplotlib.figure import Figure

from bnopt import drawing, panels

PANELS = {
    "vgg": ("accuracy", 100, "(a) VGG: training accuracy (%)", "linear"),
    "deep_linear": ("loss", 1, "(b) Deep linear network: training loss", "log"),
}


def draw(over_seeds, first_seed, *, conditions):
    """Return a panel per task: training accuracy in % of the vgg nets, training loss of the linear ones."""
    del first_seed
    figure = Figure(figsize=(8, 3.2))
    axes = figure.subplots(1, 2)
    for ax, (task, (quantity, factor, title, scale)) in zip(axes, PANELS.items(), strict=True):
        for name, condition in conditions.items():
            if condition["task"] == task:
                drawing.curve(
                    ax, over_seeds["training"], name, quantity, factor=factor,
                    label=drawing.label(condition), **drawing.style(condition),
                )  # fmt: skip
        ax.set(title=title, xlabel="Steps")
        panels.set_scale(ax, scale)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    return figure
