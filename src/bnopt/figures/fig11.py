"""Figure 11: the change of the gradient over step sizes, from early to late in training."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from bnopt.figures import _drawing
from bnopt.study import names

PREFIX = "gradient_change_at_"
TITLES = {"vgg": "(a) VGG", "deep_linear": "(b) Deep linear network"}


def draw(over_seeds, first_seed, *, conditions):
    """Return ‖g(θ − ηg) − g‖₂ over η: a panel per condition, a line per probed step.

    Axes are linear for the VGG and logarithmic for the deep linear network.
    """
    del first_seed
    table = over_seeds["along_gradient"]
    figure = Figure(figsize=(_drawing.WIDTH, 2.1))
    axes = figure.subplots(1, len(conditions))
    shared = {}
    for ax, (name, condition) in zip(np.atleast_1d(axes), conditions.items(), strict=True):
        task = condition["task"]
        if task in shared:
            ax.sharey(shared[task])
        shared.setdefault(task, ax)
        ax.set(title=f"{TITLES.get(task, names.words(task))}\n{_drawing.label(condition)}", xlabel="η")
        if task == "deep_linear":
            ax.set(xscale="log", yscale="log")
        _lines(figure, ax, table[table["condition"] == name], lr=condition["lr"])
    np.atleast_1d(axes)[0].set_ylabel("‖g(θ − ηg) − g‖₂")
    return figure


def _lines(figure, ax, rows, *, lr):
    """Draw a line per step, from dark (early) to bright (late); geometric means on a logarithmic axis."""
    rows = rows[rows["quantity"].str.startswith(PREFIX)]
    eta = rows["quantity"].str.removeprefix(PREFIX).astype(float) * lr
    mean = "geometric_mean" if ax.get_yscale() == "log" else "mean"
    curves = rows.assign(eta=eta).pivot(index="step", columns="eta", values=mean)
    curves = curves.replace([np.inf], np.nan)
    for step, curve in curves.iterrows():
        ax.plot(curve.index, curve, color=_drawing.ORDERED(step / max(curves.index.max(), 1)), linewidth=0.7)
    limits = matplotlib.colors.Normalize(0, max(curves.index.max(), 1))
    figure.colorbar(matplotlib.cm.ScalarMappable(limits, _drawing.ORDERED), ax=ax, label="Step", pad=0.02)
