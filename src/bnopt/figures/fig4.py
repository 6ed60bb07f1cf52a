"""Figure 4: the landscape along the gradient for the vgg nets."""

from matplotlib.figure import Figure

from bnopt import drawing


def draw(over_seeds, first_seed, *, conditions):
    """Return (a) the loss band, (b) the band of gradient predictiveness, (c) the effective β."""
    del first_seed
    table = over_seeds["along_gradient"]
    figure = Figure(figsize=(9, 2.8))
    loss, gradient, beta = figure.subplots(1, 3)
    for name, condition in conditions.items():
        line = drawing.style(condition) | {"label": drawing.label(condition)}
        drawing.band(loss, table, name, "loss_min", "loss_max", **line)
        drawing.band(gradient, table, name, "predictiveness_min", "predictiveness", **line)
        drawing.curve(beta, table, name, "beta", **line)
    loss.set(title="(a) Loss along the gradient", yscale="log", xlabel="Steps")
    gradient.set(title="(b) Gradient predictiveness", xlabel="Steps", ylim=(0, None))
    beta.set(title="(c) Effective β-smoothness", xlabel="Steps", ylim=(0, None))
    # A logarithmic axis of its own choice would reach down to where an interval nears 0.
    lows = [drawing.series(table, name, "loss_min")["mean"].min() for name in conditions]
    loss.set_ylim(bottom=min(lows) / 2)
    loss.legend(fontsize="x-small")
    return figure
