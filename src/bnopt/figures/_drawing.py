"""Drawing functions that several figures share: colours, labels, curves with bands, and ridges."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from bnopt.study import names

# Okabe and Ito's palette, which colour-blind readers can tell apart. Line styles differ for black-and-white
# prints.
STYLES = {
    "none": {"color": "#D55E00", "linestyle": "-"},
    "batch": {"color": "#0072B2", "linestyle": (0, (5, 1.5))},
    "noisy_batch": {"color": "#009E73", "linestyle": (0, (4, 1.5, 1, 1.5))},
    "noise": {"color": "#777777", "linestyle": (0, (1, 1))},
    "l1": {"color": "#E69F00", "linestyle": (0, (3, 1, 1, 1, 1, 1))},
    "l2": {"color": "#56B4E9", "linestyle": (0, (6, 1, 1, 1))},
    "linf": {"color": "#CC79A7", "linestyle": (0, (2, 1))},
    # Later norms share the colours of the paper's: blue with statistics of the batch, green of a sample,
    # violet without statistics, grey for norms of the weights.
    "ghost": {"color": "#0072B2", "linestyle": (0, (1, 1))},
    "frozen": {"color": "#0072B2", "linestyle": (0, (3, 1, 1, 1))},
    "centre": {"color": "#0072B2", "linestyle": (0, (2, 2))},
    "divide": {"color": "#0072B2", "linestyle": (0, (8, 2))},
    "layer": {"color": "#009E73", "linestyle": "-"},
    "group": {"color": "#009E73", "linestyle": (0, (5, 1.5))},
    "instance": {"color": "#009E73", "linestyle": (0, (1, 1))},
    "rms": {"color": "#009E73", "linestyle": (0, (2, 2))},
    "dyt": {"color": "#CC79A7", "linestyle": "-"},
    "dyt_alpha1": {"color": "#CC79A7", "linestyle": (0, (5, 1.5))},
    "weight_norm": {"color": "#777777", "linestyle": "-"},
    "weight_standard": {"color": "#777777", "linestyle": (0, (5, 1.5))},
}
# Colours of what has an order, from dark to bright in grey prints too, without the brightest, which are hard
# to see on white.
ORDERED = ListedColormap(colormaps["viridis"](np.linspace(0, 0.85, 256)))
# Begins the name of a quantity's mean over all steps of a run; the stage `statistics` writes it.
OVER_RUN = "over_run:"
# Marks the point at which a run diverges. The stage `figure` recognises it and explains it in a note.
DIVERGED = "x"
RIDGES = 14
# Width in inches of every figure: that of the text in the report, so that no letter is made smaller there.
WIDTH = 6.85
# Share of the values a ridge shows: a few outliers would squeeze the rest into a needle.
SHOWN = 0.995


def style(condition):
    """Return the line style of a condition; it depends on the norm alone."""
    return STYLES.get(condition["norm"], {"color": "black", "linestyle": "-"})


def label(condition):
    """Return the paper's legend text for a condition; it depends on the norm alone."""
    return "Standard" + ("" if condition["norm"] == "none" else f" + {names.words(condition['norm'])}")


def broken(text):
    """Return the label of a condition on two lines, for a narrow panel."""
    return text.replace(" + ", "\n+ ")


def legend(figure, ax):
    """Draw the legend of an axis below a figure, in so few columns that it is no wider than the figure."""
    handles, labels = ax.get_legend_handles_labels()
    columns = len(labels) if len(labels) < 4 else -(-len(labels) // 2)
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, min(columns, 3)))


def short_label(condition):
    """Return the text beside a point: the norm, or `Standard`, and the settings that few conditions have."""
    return ", ".join([label(condition).removeprefix("Standard + "), *names.extras(condition)])


def series(table, condition, quantity, layer=""):
    """Return the rows of one quantity, condition and layer of a table over seeds, by step.

    Infinite values become NaN, which matplotlib leaves out.
    """
    chosen = (table["condition"] == condition) & (table["quantity"] == quantity) & (table["layer"] == layer)
    return table[chosen].set_index("step").sort_index().replace([np.inf, -np.inf], np.nan)


def centre_and_interval(ax, table, condition, quantity, layer=""):
    """Return mean, low and high of a curve, each by step; on a logarithmic axis, the geometric ones."""
    kind = ["geometric_mean", "geometric_low", "geometric_high"]
    columns = kind if ax.get_yscale() == "log" else ["mean", "ci_low", "ci_high"]
    rows = series(table, condition, quantity, layer)
    return [rows[column] for column in columns]


def curve(ax, table, condition, quantity, *, layer="", factor=1, **line):
    """Draw the mean over seeds as a line and its interval as a band. Set the scale of the axis first."""
    mean, low, high = centre_and_interval(ax, table, condition, quantity, layer)
    ax.plot(mean.index, factor * mean, marker=marker(mean), **line)
    ax.fill_between(mean.index, factor * low, factor * high, color=line["color"], alpha=0.2, linewidth=0)
    # Only training curves have this quantity. The cross marks the last value up to the first divergence.
    diverged = series(table, condition, "diverged")["mean"].gt(0)
    if diverged.any():
        so_far = mean.loc[: diverged.idxmax()].dropna()
        ax.plot(so_far.index[-1:], factor * so_far[-1:], marker=DIVERGED, linestyle="", color=line["color"])


def marker(values):
    """Return the marker of a line: a dot for a single point, which is invisible as a line."""
    return "." if np.isfinite(values).sum() == 1 else None


def band(ax, table, condition, low, high, *, label, **line):
    """Fill the band between the means of two quantities; the interval of each edge is drawn lighter.

    The legend shows the lines of the edges, which differ in grey prints too.
    """
    edges = [centre_and_interval(ax, table, condition, quantity) for quantity in (low, high)]
    steps = edges[0][0].index
    ax.fill_between(steps, edges[0][0], edges[1][0], color=line["color"], alpha=0.3, linewidth=0)
    for (mean, bottom, top), text in zip(edges, (label, None), strict=True):
        ax.fill_between(steps, bottom, top, color=line["color"], alpha=0.12, linewidth=0)
        ax.plot(steps, mean, linewidth=0.8, marker=marker(mean), label=text, **line)


def ridges(ax, rows, **line):
    """Draw the densities of up to RIDGES recorded steps, stacked from the first (back) to the last (front).

    rows: histograms of one run, layer and site, with columns `step, unit, low, high, bin_*`. The density
    of a step is the mean of its units' densities. All ridges have the same height. The axis is
    symmetric about 0 and holds 99.5 % of the values of the steps drawn.
    """
    ax.tick_params(left=False, labelsize="small")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_yticks([])
    if rows.empty:
        return
    steps = np.unique(rows["step"])
    steps = steps[np.unique(np.linspace(0, len(steps) - 1, RIDGES).round().astype(int))]
    reach = _reach(rows[rows["step"].isin(steps)])
    x = np.linspace(-reach, reach, 300)
    for depth, step in enumerate(steps):
        density = _density(rows[rows["step"] == step], x)
        height = density.max()
        base = len(steps) - 1 - depth
        top = base + 2.5 * (density / height if height > 0 else density)
        ax.fill_between(x, base, top, color="white", zorder=depth)
        ax.fill_between(x, base, top, color=line["color"], alpha=0.35, linewidth=0, zorder=depth)
        ax.plot(x, top, color=line["color"], linewidth=0.5, zorder=depth)
    shown = [0, len(steps) - 1] if len(steps) > 1 else [0]
    ax.set_yticks([len(steps) - 1 - i for i in shown], [str(steps[i]) for i in shown])


def _reach(rows):
    """Return the distance from 0 within which the share SHOWN of the values lies, at the outer edge of a bin.

    1 if the histograms hold no value, or if all are 0.
    """
    counts = rows.filter(regex=r"^bin_\d+$").to_numpy(dtype=float)
    low, high = (rows[[edge]].to_numpy() for edge in ("low", "high"))
    filled = (counts > 0) & np.isfinite(low) & np.isfinite(high)
    if not filled.any():
        return 1.0
    width = np.where(filled, high - low, 0) / counts.shape[1]
    left = np.where(filled, low, 0) + width * np.arange(counts.shape[1])
    edges = np.maximum(np.abs(left), np.abs(left + width))
    return np.quantile(edges[filled], SHOWN, weights=counts[filled], method="inverted_cdf") or 1.0


def _density(rows, x):
    """Return the density at x: the mean over units of the densities of their histograms."""
    counts = rows.filter(regex=r"^bin_\d+$").to_numpy(dtype=float)
    total = np.zeros_like(x)
    for unit, low, high in zip(counts, rows["low"], rows["high"], strict=True):
        if unit.sum():
            width = (high - low) / len(unit)
            inside = (x >= low) & (x <= high)
            bins = np.minimum(((x[inside] - low) / width).astype(int), len(unit) - 1)
            total[inside] += unit[bins] / unit.sum() / width
    return total / max(1, len(rows))


def layer_title(layers, name):
    """Return the title of a layer: its name in the paper and, if it differs, its number in this net."""
    number = layers[name]
    return f"Layer {name}" if name == f"#{number}" else f"Layer {name}\n(here {number})"


def first_site(activations, condition, layer):
    """Return the rows of a condition and layer at its task's first site; none if the run diverged at once."""
    if activations.empty:
        return activations
    rows = activations[(activations["condition"] == condition) & (activations["layer"] == layer)]
    return rows[rows["site"] == rows["site"].iloc[0]] if len(rows) else rows


def ridge_grid(activations, conditions, layers):
    """Return a figure of ridges with a row per layer and a column per condition."""
    figure = Figure(figsize=(WIDTH, 1.2 * len(layers) + 0.4))
    axes = figure.subplots(len(layers), len(conditions), squeeze=False)
    ridge_panels(axes, activations, conditions, layers)
    return figure


def ridge_panels(axes, activations, conditions, layers, *, look=style):
    """Draw ridges into a grid of axes with a row per layer and a column per condition.

    look: function from a condition to its line style.
    """
    for row, layer in zip(axes, layers, strict=True):
        for ax, (name, condition) in zip(row, conditions.items(), strict=True):
            ridges(ax, first_site(activations, name, layer), **look(condition))
        row[0].set_ylabel(layer_title(layers, layer))
    for ax, condition in zip(axes[0], conditions.values(), strict=True):
        ax.set_title(broken(label(condition)), fontsize="small")
