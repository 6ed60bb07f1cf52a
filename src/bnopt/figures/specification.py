"""The specification curve of one claim: its effect under every combination of choices, in order."""

import numpy as np
from matplotlib.figure import Figure

from bnopt import verdicts
from bnopt.figures.claims import VERDICTS

# Sizes in inches: the width of the figure without its labels, the least width of all columns and that of a
# column, the height of the effects, and of a row of choices.
LABELS, LEAST, COLUMN = 1.7, 4.2, 0.11
EFFECTS, ROW = 2.0, 0.15
# Share of the range of all effects by which the axis is longer on each side, and the least range.
BEYOND, LEAST_RANGE = 0.25, 0.05
NAMES = {
    "summary": {
        "mean": "mean", "geometric_mean": "geometric mean", "median": "median", "equal_loss": "at equal loss",
    },
    "steps": {
        "all": "all steps", "until_converged": "until either converges", "first_half": "first half",
        "second_half": "second half",
    },
    "grid": {"all": "all step sizes", "up_to_lr": "step sizes up to lr", "lr": "lr alone"},
}  # fmt: skip
AXES = {"difference": "Difference a − b", "log_ratio": "Ratio a / b"}


def draw(over_seeds, first_seed, *, claim):
    """Return effects with intervals in order, and below each column the choices that give it.

    A ring marks the registered combination. A hollow square belongs to another combination that has the
    same effects. Intervals that reach far beyond all effects are cut off. Combinations that are not run
    are left out.
    """
    del first_seed
    rows = over_seeds["specifications"]
    rows = rows[rows["claim"] == claim]
    shown = rows[rows["verdict"] != "not run"].sort_values("effect", kind="stable").reset_index(drop=True)
    choices = _choices(shown)
    heights = [EFFECTS, *(ROW * len(names) for names in choices.values())]
    width = LABELS + max(LEAST, COLUMN * len(shown))
    figure = Figure(figsize=(width, sum(heights) + 0.75))
    axes = figure.subplots(len(heights), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    _effects(axes[0], shown)
    # A dollar sign in a label is a dollar sign.
    axes[0].set_title(_title(rows), loc="left", parse_math=False)
    for ax, (choice, names) in zip(axes[1:], choices.items(), strict=True):
        _chosen(ax, shown, choice, names)
    return figure


def _title(rows):
    """Return the label of the claim, and how many specifications support it."""
    supported, judged = verdicts.support(rows["verdict"])
    missing = len(rows) - judged
    not_run = f" ({missing} not run)" if missing else ""
    return (
        f"{rows['label'].iloc[0]} · {rows['source'].iloc[0]}\nSupported in {supported} of {judged}{not_run}"
    )


def _choices(rows):
    """Return choice -> its values that occur, for choices with several."""
    combinations = [_combinations(row) for row in rows.to_dict("records")]
    found = {}
    for number, (choice, names) in enumerate(NAMES.items()):
        used = {one[number] for of_row in combinations for one in of_row}
        found[choice] = [name for name in names if name in used]
    return {choice: names for choice, names in found.items() if len(names) > 1}


def _combinations(row):
    """Return the combinations with the result of a row, its own first: summary, steps, grid."""
    others = row["coincides"].split(";") if isinstance(row["coincides"], str) and row["coincides"] else []
    return [tuple(row[choice] for choice in NAMES), *(tuple(other.split("/")) for other in others)]


def _effects(ax, rows):
    """Draw effects and intervals, a column per row, and the boundaries of the claim."""
    ratio = (rows["compare"] == "log_ratio").any()
    if ratio:
        ax.set_yscale("log")
    scale = np.exp if ratio else np.asarray
    bottom, top = _limits(rows)
    ax.axhline(scale(0.0), color="black", linewidth=0.6)
    for column, row in enumerate(rows.itertuples()):
        look = VERDICTS[row.verdict]
        effect, low, high = np.clip([row.effect, row.ci_low, row.ci_high], bottom, top)
        ax.plot([column, column], scale([low, high]), color=look["color"], linewidth=1.2)
        ring = {"markeredgecolor": "black", "markersize": 6} if row.registered else {"markersize": 3.5}
        ax.plot(column, scale(effect), color=look["color"], marker=look["marker"], **ring)
    for boundary in _boundaries(rows):
        ax.axhline(scale(boundary), color="black", linestyle=":", linewidth=1)
    ax.set(ylim=scale([bottom, top]), ylabel=AXES["log_ratio" if ratio else "difference"])
    ax.tick_params(bottom=False)
    for verdict, look in VERDICTS.items():
        if (rows["verdict"] == verdict).any():
            ax.plot([], [], **look, linestyle="", markersize=3.5, label=verdict)
    if len(rows):
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize="small", handlelength=1)


def _limits(rows):
    """Return the ends of the axis of effects: it holds 0, the boundaries, and all effects that are finite."""
    effects = rows["effect"].to_numpy(dtype=float)
    shown = [0.0, *_boundaries(rows), *effects[np.isfinite(effects)]]
    more = BEYOND * max(max(shown) - min(shown), LEAST_RANGE)
    return min(shown) - more, max(shown) + more


def _boundaries(rows):
    """Return the finite boundaries of the claim other than 0, where there is a line anyway."""
    if rows.empty:
        return []
    both = verdicts.boundaries(rows["expected"].iloc[0], rows["margin"].iloc[0])
    return [boundary for boundary in both if np.isfinite(boundary) and boundary]


def _chosen(ax, rows, choice, names):
    """Mark the value of one choice in every column; hollow, those of combinations with the same effects."""
    order = list(NAMES).index(choice)
    for column, row in enumerate(rows.to_dict("records")):
        own, *others = (names.index(one[order]) for one in _combinations(row))
        look = {"marker": "s", "markersize": 3, "color": VERDICTS[row["verdict"]]["color"]}
        for value in set(others) - {own}:
            ax.plot(column, value, markerfacecolor="none", markeredgewidth=0.6, **look)
        ax.plot(column, own, **look)
    ax.set_yticks(range(len(names)), [NAMES[choice][name] for name in names], fontsize="small")
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xticks([])
    ax.tick_params(left=False)
    ax.spines[["bottom", "left"]].set_visible(False)
    ax.grid(axis="y", linewidth=0.3)
