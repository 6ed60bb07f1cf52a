"""The specification curve of one claim: its effect under every combination of choices, in order."""

import numpy as np
from matplotlib.figure import Figure

from bnopt import verdicts
from bnopt.figures import _drawing, _effects
from bnopt.judged import CHOICES, combinations, natural
from bnopt.study import names

# Heights in inches: of the effects, of a row of choices, and of what else there is.
EFFECTS, ROW, FRAME = 1.5, 0.16, 0.6
SIZE = 7
# The values of each choice from top to bottom, and the words for all that one of them allows.
VALUES = {
    "summary": ("mean", "geometric_mean", "median", "equal_loss"),
    "steps": ("all", "until_converged", "first_half", "second_half"),
    "grid": ("all", "up_to_lr", "lr"),
}
ALL = {"steps": "all steps", "grid": "all step sizes"}


def draw(over_seeds, first_seed, *, claim, unit):
    """Return effects with intervals in order, and below each column the choices that give it.

    unit: of the effects (`study.unit`)

    Shaded: the effects that support the claim. A ring marks the registered combination. A hollow square
    belongs to another combination that has the same effects. Intervals that reach far beyond all effects are
    cut off. Combinations that are not run are left out.
    """
    del first_seed
    rows = over_seeds["specifications"]
    rows = rows[rows["claim"] == claim]
    shown = rows[rows["verdict"] != "not run"].sort_values("effect", kind="stable").reset_index(drop=True)
    choices = _choices(shown)
    heights = [EFFECTS, *(ROW * len(values) for values in choices.values())]
    figure = Figure(figsize=(_drawing.WIDTH, sum(heights) + FRAME))
    axes = figure.subplots(len(heights), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    _draw_effects(axes[0], shown, unit)
    # A dollar sign in a label is a dollar sign.
    axes[0].set_title(_title(rows), loc="left", fontsize=SIZE + 1, parse_math=False)
    for ax, (choice, values) in zip(axes[1:], choices.items(), strict=True):
        _chosen(ax, shown, choice, values)
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
    of_rows = [combinations(row) for row in rows.to_dict("records")]
    found = {}
    for number, choice in enumerate(CHOICES):
        used = {one[number] for of_row in of_rows for one in of_row}
        found[choice] = [value for value in VALUES[choice] if value in used]
    return {choice: values for choice, values in found.items() if len(values) > 1}


def _draw_effects(ax, rows, unit):
    """Draw effects and intervals, a column per row, and the effects that support the claim."""
    ends = (0.0, 1.0)
    if len(rows):
        ends = _effects.limits(rows)
        _support(ax, rows.iloc[0], unit, natural(ends, unit))
    ax.set(yscale="log" if unit == "ratio" else "linear", ylim=natural(ends, unit))
    ax.axhline(natural(0, unit), color="black", linewidth=0.6)
    for column, row in enumerate(rows.itertuples()):
        look = _effects.VERDICTS[row.verdict]
        effect, low, high = natural(np.clip([row.effect, row.ci_low, row.ci_high], *ends), unit)
        ax.plot([column, column], [low, high], color=look["color"], linewidth=1.2)
        ring = {"markeredgecolor": "black", "markersize": 6} if row.registered else {"markersize": 3.5}
        ax.plot(column, effect, color=look["color"], marker=look["marker"], clip_on=False, **ring)
    ax.set_ylabel(_effects.UNITS[unit], fontsize=SIZE)
    _effects.set_ticks(ax.yaxis, unit, natural(ends, unit))
    ax.tick_params(bottom=False, labelsize=SIZE)
    for verdict, look in _effects.VERDICTS.items():
        if (rows["verdict"] == verdict).any():
            ax.plot([], [], **look, linestyle="", markersize=3.5, label=verdict)
    if len(rows):
        # Above the axes, where no effect lies.
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=SIZE, handlelength=1)


def _support(ax, claim, unit, ends):
    """Shade the effects that support the claim; its boundaries other than no effect are dotted."""
    both = natural(verdicts.boundaries(claim["expected"], claim["margin"]), unit)
    ax.axhspan(*np.clip(both, *ends), color=_effects.EXPECTED, linewidth=0, zorder=0)
    for boundary in natural(_effects.bounds(claim), unit):
        ax.axhline(boundary, color="black", linestyle=":", linewidth=1)


def _chosen(ax, rows, choice, values):
    """Mark the value of one choice in every column; hollow, those of combinations with the same effects."""
    order = CHOICES.index(choice)
    for column, row in enumerate(rows.to_dict("records")):
        own, *others = (values.index(one[order]) for one in combinations(row))
        look = {"marker": "s", "markersize": 3, "color": _effects.VERDICTS[row["verdict"]]["color"]}
        for value in set(others) - {own}:
            ax.plot(column, value, markerfacecolor="none", markeredgewidth=0.6, **look)
        ax.plot(column, own, **look)
    labels = [ALL[choice] if value == "all" else names.words(value) for value in values]
    ax.set_yticks(range(len(values)), labels, fontsize=SIZE)
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.set_xticks([])
    ax.tick_params(left=False)
    ax.spines[["bottom", "left"]].set_visible(False)
    ax.grid(axis="y", linewidth=0.3)
