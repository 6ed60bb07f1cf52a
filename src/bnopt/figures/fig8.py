"""Figure 8: the moments of activations, their change from step to step and their drift from the start."""

from matplotlib.figure import Figure

from bnopt.figures import _drawing, _panels

PANELS = {
    "mean_change": "(a) |μₜ₊₁ − μₜ|",
    "variance_change": "(a) |σ²ₜ₊₁ − σ²ₜ|",
    "mean_drift": "(b) μₜ − μ₀",
    "variance_drift": "(b) σ²ₜ − σ²₀",
}


def draw(over_seeds, first_seed, *, conditions, layers):
    """Return means over units and seeds: a row per layer, a column per quantity."""
    del first_seed
    layers = layers["vgg"]
    figure = Figure(figsize=(_drawing.WIDTH, 1.05 * len(layers) + 0.5))
    axes = figure.subplots(len(layers), len(PANELS), sharex=True, squeeze=False)
    for row, layer in zip(axes, layers, strict=True):
        for ax, quantity in zip(row, PANELS, strict=True):
            for name, condition in conditions.items():
                _drawing.curve(
                    ax,
                    over_seeds["activations"],
                    name,
                    quantity,
                    layer=layer,
                    label=_drawing.label(condition),
                    **_drawing.style(condition),
                )
        for ax in row[:2]:
            _panels.fit(ax)
        row[0].set_ylabel(_drawing.layer_title(layers, layer))
    for ax, title in zip(axes[0], PANELS.values(), strict=True):
        ax.set_title(title)
    for ax in axes[-1]:
        ax.set_xlabel("Steps")
    _drawing.legend(figure, axes[0, 0])
    return figure
