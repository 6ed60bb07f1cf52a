"""Figure 9: the distributions of the outputs of layers of the deep linear network."""

from matplotlib.figure import Figure

from bnopt.figures import _drawing


def draw(over_seeds, first_seed, *, conditions, layers):
    """Return the layers' own outputs y over training: a row per condition, a column per layer."""
    del over_seeds
    figure = Figure(figsize=(_drawing.WIDTH, 1.25 * len(conditions) + 0.1))
    axes = figure.subplots(len(conditions), len(layers["deep_linear"]), squeeze=False)
    for row, (name, condition) in zip(axes, conditions.items(), strict=True):
        for ax, layer in zip(row, layers["deep_linear"], strict=True):
            rows = _drawing.first_site(first_seed["activations"], name, layer)
            _drawing.ridges(ax, rows, **_drawing.style(condition))
            ax.set_title(_drawing.layer_title(layers["deep_linear"], layer))
        row[0].set_ylabel(_drawing.broken(_drawing.label(condition)))
    return figure
