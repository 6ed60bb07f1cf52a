"""Training against each measure of smoothness, a point per norm."""

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bnopt.figures import _drawing

# Table and quantity of each panel, and the label of its axis.
PANELS = (
    ("along_gradient", "loss_variation", "(a) Loss variation"),
    ("along_gradient", "predictiveness", "(b) Gradient predictiveness"),
    ("along_gradient", "beta", "(c) Effective β-smoothness"),
    ("curvature", "sharpness", "(d) Largest eigenvalue λₘₐₓ"),
)
# Kind of norm -> its norms and the look of its points. Norms of the weights train in other coordinates.
KINDS = {
    "no norm": (("none",), {"color": "#D55E00", "marker": "o"}),
    "statistics of the batch": (
        ("batch", "l1", "l2", "linf", "ghost", "frozen", "centre", "divide"),
        {"color": "#0072B2", "marker": "s"},
    ),
    "statistics of a sample": (
        ("layer", "group", "instance", "rms"),
        {"color": "#009E73", "marker": "D"},
    ),
    "no statistics": (("dyt", "dyt_alpha1"), {"color": "#CC79A7", "marker": "^"}),
    "norm of the weights (other coordinates)": (
        ("weight_norm", "weight_standard"),
        {"color": "#777777", "marker": "o", "markerfacecolor": "white"},
    ),
}
OTHER = "other norm"
PLAIN = ["mean", "ci_low", "ci_high"]
GEOMETRIC = ["geometric_mean", "geometric_low", "geometric_high"]
# The size of a label in shares of a panel: of a line, and of a character.
LINE, CHARACTER = 0.055, 0.019


def draw(over_seeds, first_seed, *, conditions):
    """Return training accuracy in % against four measures, all of them means over the run.

    Bars are intervals over seeds. Conditions of which every run diverged are named below the panels, as
    are those without a positive, finite measure.
    """
    del first_seed
    figure = Figure(figsize=(_drawing.WIDTH, 6.8))
    axes = figure.subplots(2, 2, sharey=True)
    training = over_seeds["training"]
    accuracies = {name: 100 * _over_run(training, name, "accuracy", PLAIN) for name in conditions}
    lost = {name for name in conditions if _diverged(training, name)}
    for ax, (table, quantity, title) in zip(axes.flat, PANELS, strict=True):
        ax.set(title=title, xscale="log", ylim=(0, 108))
        ax.grid(linewidth=0.3, alpha=0.6)
        measures = {name: _over_run(over_seeds[table], name, quantity, GEOMETRIC) for name in conditions}
        finite = [n for n in conditions if 0 < measures[n][0] < np.inf and np.isfinite(accuracies[n][0])]
        shown = {name: conditions[name] for name in finite if name not in lost}
        _points(ax, measures, accuracies, shown)
        _name_missing(ax, {name: c for name, c in conditions.items() if name not in shown})
    for ax in axes[:, 0]:
        ax.set_ylabel("Training accuracy over the run (%)")
    found = {line.get_label(): line for ax in axes.flat for line in ax.lines}
    handles = [found[kind] for kind in [*KINDS, OTHER] if kind in found]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _over_run(table, condition, quantity, columns):
    """Return centre, low and high of the mean of a quantity over the run; NaN without a value."""
    rows = _drawing.series(table, condition, _drawing.OVER_RUN + quantity)[columns]
    return rows.iloc[-1].to_numpy(dtype=float) if len(rows) else np.full(3, np.nan)


def _diverged(training, condition):
    """Return whether every run of a condition diverged."""
    return (_drawing.series(training, condition, "diverged")["mean"].iloc[-1:] == 1).any()


def _points(ax, measures, accuracies, conditions):
    """Draw and label a point per condition; the limits fit the points, and longer intervals are cut off."""
    for name, condition in conditions.items():
        (x, *across), (y, *along) = measures[name], accuracies[name]
        kind, look = _kind(condition)
        bar = {"color": look["color"], "alpha": 0.35, "linewidth": 0.9, "zorder": 1}
        ax.plot(across, [y, y], **bar)
        ax.plot([x, x], along, **bar)
        ax.plot(x, y, linestyle="", markersize=4.5, label=kind, zorder=3, **look)
    centres = [measures[name][0] for name in conditions] or [1]
    ax.set_xlim(min(centres) / 2, max(centres) * 2)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(centres) < 100 * min(centres) else (1,)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    _label_points(
        ax,
        {name: (measures[name][0], accuracies[name][0]) for name in conditions},
        {name: (_drawing.short_label(c), _kind(c)[1]["color"]) for name, c in conditions.items()},
    )


def _name_missing(ax, conditions):
    """Name below a panel the conditions that it does not show."""
    if conditions:
        text = "Not shown: " + ", ".join(map(_drawing.short_label, conditions.values()))
        ax.set_xlabel(textwrap.fill(text, 55), fontsize="small")


def _kind(condition):
    """Return the kind of a condition's norm, and the look of its points."""
    for kind, (norms, look) in KINDS.items():
        if condition["norm"] in norms:
            return kind, look
    return OTHER, {"color": "black", "marker": "v"}


def _label_points(ax, points, labels):
    """Write the label of each point beside it, at the nearest free spot; a thin line leads to far ones.

    points: name -> (x, y) in data units; labels: name -> (text, colour)
    """
    to_panel = ax.transScale + ax.transLimits
    spots = {name: to_panel.transform(point) for name, point in points.items()}
    taken = [(x - 0.012, y - 0.016, x + 0.012, y + 0.016) for x, y in spots.values()]
    for name in sorted(points, key=lambda name: -spots[name][1]):
        text, colour = labels[name]
        x, y = spots[name]
        box = _free(x, y, CHARACTER * len(text), taken)
        taken.append(box)
        anchor = (box[0], (box[1] + box[3]) / 2)
        ax.annotate(
            text, points[name], anchor, textcoords="axes fraction", va="center", fontsize="small",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.3},
            color=colour, arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "alpha": 0.6},
        )  # fmt: skip


def _free(x, y, width, taken):
    """Return the free box (left, bottom, right, top) nearest to a point; the last one tried if none is."""
    box = None
    for step in range(40):
        for up in (step, -step) if step else (0,):
            for left in (x + 0.02 + 0.004 * step, x - 0.02 - 0.004 * step - width):
                bottom = y - LINE / 2 + up * LINE / 2
                box = (left, bottom, left + width, bottom + LINE)
                inside = box[0] > 0 and box[2] < 1 and box[1] > 0 and box[3] < 1
                if inside and not any(_overlap(box, other) for other in taken):
                    return box
    return box


def _overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
