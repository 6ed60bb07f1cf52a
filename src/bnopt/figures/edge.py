"""The curvature of the loss over training, in units of the edge of stability."""

from string import ascii_lowercase

import numpy as np
from matplotlib.figure import Figure

from bnopt.figures import _drawing, _panels

# Quantity -> the label of its axis, and the scale of the axis. κ may be negative.
ROWS = {
    "sharpness_in_edges": ("λₘₐₓ · lr/2", {"value": "log"}),
    "gradient_curvature_in_edges": ("κ · lr/2", {"value": "symlog", "linthresh": 1}),
}


def draw(over_seeds, first_seed, *, conditions):
    """Return the largest eigenvalue, and below it the curvature along the gradient: a column per task.

    Both are multiplied by lr/2. The line at 1 is the edge of stability.
    """
    del first_seed
    of_task = _panels.by_task(conditions)
    figure = Figure(figsize=(_drawing.WIDTH, 4))
    axes = figure.subplots(len(ROWS), len(of_task), squeeze=False, sharex="col")
    for row, (quantity, (label, scale)) in zip(axes, ROWS.items(), strict=True):
        row[0].set_ylabel(label)
        for ax, shown in zip(row, of_task.values(), strict=True):
            ax.set_yscale(**scale)
            _curves(ax, over_seeds["curvature"], shown, quantity)
    for letter, task, top, bottom in zip(ascii_lowercase, of_task, *axes, strict=False):
        top.set_title(f"({letter}) {_panels.title(task)}")
        bottom.set_xlabel("Steps")
    most = max(axes[0], key=lambda ax: len(ax.get_legend_handles_labels()[0]))
    _drawing.legend(figure, most)
    return figure


def _curves(ax, table, conditions, quantity):
    """Draw a curve per condition, and the line at 1."""
    for name, condition in conditions.items():
        line = _drawing.style(condition) | {"label": _drawing.label(condition)}
        _drawing.curve(ax, table, name, quantity, **line)
    if ax.get_yscale() == "log":
        _panels.fit(ax)
    else:
        _fit_both_signs(ax)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.axhline(1, color="black", linewidth=0.6)


def _fit_both_signs(ax):
    """Fit a vertical axis to its lines and the edge; intervals that reach further are cut off."""
    values = [v for line in ax.lines for v in line.get_ydata() if np.isfinite(v)]
    low, high = min([0, *values]), max([1, *values])
    ax.set_ylim(1.3 * low - 0.1, 1.3 * high + 0.1)
