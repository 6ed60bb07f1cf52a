"""Groups of panels that several figures show, each for its own task, and how tasks are shown."""

from string import ascii_lowercase

from matplotlib.figure import Figure

from bnopt.figures import _drawing
from bnopt.study import names

# The training of a task: its quantity, a factor, its label, the scale of its axis.
TRAINING = {"vgg": ("accuracy", 100, "training accuracy (%)", "linear")}
OTHER_TRAINING = ("loss", 1, "training loss", "log")


def by_task(conditions):
    """Return task -> its conditions: first the tasks of the paper, then others in the order of conditions."""
    tasks = dict.fromkeys([*names.TASKS, *(condition["task"] for condition in conditions.values())])
    of_tasks = {task: {name: c for name, c in conditions.items() if c["task"] == task} for task in tasks}
    return {task: of_task for task, of_task in of_tasks.items() if of_task}


def title(task):
    """Return the name of a task as a title."""
    words = names.words(task)
    return words[0].upper() + words[1:]


def lettered(tasks):
    """Return task -> its title after a letter, the paper's even where one of its tasks is missing."""
    order = dict.fromkeys([*names.TASKS, *tasks])
    return {task: f"({letter}) {title(task)}" for letter, task in zip(ascii_lowercase, order, strict=False)}


def training(task):
    """Return how to show the training of a task: quantity, factor, label, scale of the axis."""
    return TRAINING.get(task, OTHER_TRAINING)


def landscape(table, conditions, *, scales):
    """Return a figure of (a) the loss band, (b) the band of gradient predictiveness, (c) the effective β.

    scales: the scale of each panel's vertical axis, `linear` or `log`.
    """
    figure = Figure(figsize=(_drawing.WIDTH, 2.3))
    axes = figure.subplots(1, 3)
    titles = ("(a) Loss along the gradient", "(b) Gradient predictiveness", "(c) Effective β-smoothness")
    for ax, title, scale in zip(axes, titles, scales, strict=True):
        ax.set(title=title, xlabel="Steps", yscale=scale)
    for name, condition in conditions.items():
        line = _drawing.style(condition) | {"label": _drawing.label(condition)}
        _drawing.band(axes[0], table, name, "loss_min", "loss_max", **line)
        _drawing.band(axes[1], table, name, "predictiveness_min", "predictiveness", **line)
        _drawing.curve(axes[2], table, name, "beta", **line)
    for ax in axes:
        fit(ax)
    _drawing.legend(figure, axes[0])
    return figure


def norms(training, along_gradient, conditions, *, quantity, title, factor, scales):
    """Return a figure with a curve per norm: (a) training, (b) to (d) the landscape along the gradient.

    quantity, title, factor: the training quantity that panel (a) shows, its title, and the factor that it
    is multiplied by; scales: as in `landscape`.
    """
    figure = Figure(figsize=(_drawing.WIDTH, 3.6))
    axes = figure.subplots(2, 2).flat
    panels = (
        (training, quantity, title, factor),
        (along_gradient, "predictiveness", "(b) Gradient predictiveness", 1),
        (along_gradient, "loss_variation", "(c) Loss variation", 1),
        (along_gradient, "beta", "(d) Effective β-smoothness", 1),
    )
    for ax, (table, column, heading, scaling), scale in zip(axes, panels, scales, strict=True):
        ax.set(title=heading, xlabel="Steps", yscale=scale)
        for name, condition in conditions.items():
            _drawing.curve(
                ax, table, name, column, factor=scaling, label=_drawing.label(condition),
                **_drawing.style(condition),
            )  # fmt: skip
        fit(ax)
    _drawing.legend(figure, axes[0])
    return figure


def fit(ax):
    """Fit the limits of a vertical axis to its lines: from 0, or from below the lines if logarithmic.

    Intervals of few seeds may reach much further than the lines; they are cut off.
    """
    values = [v for line in ax.lines for v in line.get_ydata() if 0 < v < float("inf")]
    logarithmic = ax.get_yscale() == "log"
    if values:
        ax.set_ylim(min(values) / 2 if logarithmic else 0, max(values) * (2 if logarithmic else 1.05))
