"""Figure 3: internal covariate shift beside training."""

from matplotlib.figure import Figure

from bnopt.figures import _drawing, _panels
from bnopt.study import names


def draw(over_seeds, first_seed, *, conditions, layers):
    """Return a row per task and learning rate: training, then ‖G − G′‖₂ above the cosine for each layer."""
    del first_seed
    tasks = _panels.by_task(conditions)
    titles = _panels.lettered(tasks)
    rows = [
        (task, lr) for task in tasks for lr in sorted({c["lr"] for c in tasks[task].values()}, reverse=True)
    ]
    columns = 1 + max(map(len, layers.values()))
    figure = Figure(figsize=(_drawing.WIDTH, 1.7 * len(rows)))
    grid = figure.add_gridspec(2 * len(rows), columns)
    for row, (task, lr) in enumerate(rows):
        shown = {name: c for name, c in tasks[task].items() if c["lr"] == lr}
        ax = figure.add_subplot(grid[2 * row : 2 * row + 2, 0])
        _training(ax, over_seeds["training"], shown, task)
        ax.set_title(f"{titles[task]}, lr {names.with_powers(names.number(lr))}")
        for column, layer in enumerate(layers.get(task, ()), start=1):
            cells = [figure.add_subplot(grid[2 * row + half, column]) for half in range(2)]
            _shift(cells, over_seeds["covariate_shift"], shown, layer)
            cells[0].set_title(_drawing.layer_title(layers[task], layer).replace("\n", " "))
            cells[1].set_ylim(-1.1, 1.1)
        if row == len(rows) - 1:
            _drawing.legend(figure, ax)
    return figure


def _training(ax, table, shown, task):
    """Draw the training curves of conditions with one task and learning rate."""
    quantity, factor, label, scale = _panels.training(task)
    ax.set(ylabel=label.capitalize(), xlabel="Steps", yscale=scale)
    for condition, settings in shown.items():
        _drawing.curve(
            ax, table, condition, quantity, factor=factor,
            label=_drawing.label(settings), **_drawing.style(settings),
        )  # fmt: skip
    _panels.fit(ax)


def _shift(cells, table, shown, layer):
    """Draw ‖G − G′‖₂ and the cosine of one layer; the dashed line is the cosine of an unchanged gradient."""
    difference, cosine = cells
    difference.set_yscale("log")
    for condition, settings in shown.items():
        line = _drawing.style(settings)
        _drawing.curve(difference, table, condition, "difference", layer=layer, **line)
        _drawing.curve(cosine, table, condition, "cosine", layer=layer, **line)
    _panels.fit(difference)
    difference.tick_params(labelbottom=False)
    difference.set_ylabel("‖G − G′‖₂")
    cosine.axhline(1, color="black", linestyle="--", linewidth=0.6)
    cosine.set_ylabel("cosine")
