"""Internal covariate shift beside what the curvature of the loss predicts of it."""

import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bnopt.figures import _drawing, _panels

COLUMNS = [
    *("condition", "layer", "lr", "share_before", "gradient_curvature"),
    *("relative_difference", "cosine", "first_order_relative_difference"),
]
POINT = {"linestyle": "", "marker": "o", "markersize": 2.6, "markeredgewidth": 0, "alpha": 0.75}
REFERENCE = {"color": "black", "linewidth": 0.6, "zorder": 0}


def draw(over_seeds, first_seed, *, conditions, layers):
    """Return a row per task and two panels per condition; a point is one layer at one step.

    Left: ‖G − G′‖ / ‖G‖ against its prediction to first order in lr, with the line where they are equal.
    Right: the cosine of G and G′ against 1 − lr κ sᵢ, with the law of a Hessian of rank one, ±1.
    """
    del over_seeds
    table = first_seed["shift_is_curvature"]
    of_task = _panels.by_task(conditions)
    columns = max(map(len, of_task.values()))
    figure = Figure(figsize=(_drawing.WIDTH, 1.9 * len(of_task) + 0.2))
    axes = figure.subplots(len(of_task), 2 * columns, squeeze=False)
    for row, (task, shown) in zip(axes, of_task.items(), strict=True):
        pairs = list(zip(row[:columns], row[columns:], strict=True))
        for (sizes, cosines), (name, condition) in zip(pairs, shown.items(), strict=False):
            _points(sizes, cosines, table, name, layers[task])
            for ax in (sizes, cosines):
                label = _drawing.broken(_drawing.label(condition))
                ax.set_title(f"{_panels.title(task)}\n{label}", fontsize="small")
        for unused in itertools.chain(*pairs[len(shown) :]):
            unused.set_axis_off()
        row[0].set_ylabel("‖G − G′‖ / ‖G‖, measured")
        row[columns].set_ylabel("cosine of G and G′")
        last = pairs[len(shown) - 1][1]
        last.legend(title="Layer", loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2, handlelength=1)
    return figure


def _points(sizes, cosines, table, condition, layers):
    """Draw the two panels of one condition, a colour per layer."""
    sizes.set(xscale="log", yscale="log", xlabel="to first order")
    cosines.set_xscale("symlog", linthresh=1)
    cosines.set(xlabel="1 − lr κ sᵢ", ylim=(-1.1, 1.1))
    colours = _drawing.ORDERED(np.linspace(0, 1, len(layers)))
    for colour, layer in zip(colours, layers, strict=True):
        rows = _rows(table, condition, layer)
        look = POINT | {"color": colour, "label": layer}
        sizes.plot(rows["first_order_relative_difference"], rows["relative_difference"], **look)
        cosines.plot(
            1 - rows["lr"] * rows["gradient_curvature"] * rows["share_before"], rows["cosine"], **look
        )
    _equality(sizes)
    _rank_one(cosines)


def _equality(ax):
    """Give both axes the same limits, at least a factor of 10 apart, and draw the line of equality."""
    values = [v for line in ax.lines for v in (*line.get_xdata(), *line.get_ydata()) if 0 < v < np.inf] or [1]
    middle, half = np.sqrt(min(values) * max(values)), np.sqrt(max(values) / min(values) * 2)
    limits = middle / max(half, 10**0.5), middle * max(half, 10**0.5)
    ax.set(xlim=limits, ylim=limits)
    ax.axline((1, 1), (10, 10), **REFERENCE)
    # Labels stand side by side below the panel, which leaves room for few, and above each other beside it.
    for axis, most in ((ax.xaxis, 4.5), (ax.yaxis, 20)):
        axis.set_major_locator(LogLocator(subs=(1, 3) if half < most else (1,)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _rank_one(ax):
    """Draw the cosine that a Hessian of rank one gives: the sign of 1 − lr κ sᵢ."""
    values = [v for line in ax.lines for v in line.get_xdata() if np.isfinite(v)]
    left, right = 1.3 * min([0, *values]) - 0.2, 1.3 * max([1, *values])
    ax.set_xlim(left, right)
    ax.hlines([-1, 1], [left, 0], [0, right], **REFERENCE)
    ax.axvline(0, **REFERENCE)
    ax.xaxis.set_major_formatter("{x:g}")


def _rows(table, condition, layer):
    """Return the rows of a condition and layer; infinite values become NaN, which matplotlib leaves out."""
    if "layer" not in table:  # every run diverged at once
        table = table.reindex(columns=COLUMNS)
    chosen = (table["condition"] == condition) & (table["layer"] == layer)
    return table[chosen].replace([np.inf, -np.inf], np.nan)
