"""A forest plot of all claims: effect, interval and verdict."""

import numpy as np
from matplotlib.figure import Figure

from bnopt.verdicts import boundaries

VERDICTS = {
    "supported": {"color": "#0072B2", "marker": "o"},
    "contradicted": {"color": "#D55E00", "marker": "X"},
    "inconclusive": {"color": "#777777", "marker": "s"},
    "not run": {"color": "#BBBBBB", "marker": "|"},
}
PANELS = {"difference": "Difference a − b", "log_ratio": "Ratio a / b"}
# Sizes in inches: the height of a claim, and of a panel's title and axis; the width of both panels with
# the verdicts beside them, and of a character of a label.
ROW, FRAME = 0.155, 0.65
PANELS_WIDTH, CHARACTER = 5.6, 0.047


def draw(over_seeds, first_seed, *, conditions):
    """Return a row per claim, in the panel of its task and kind of comparison. Boundaries are dotted."""
    del first_seed
    claims = over_seeds["claims"]
    task_of = claims["condition_a"].map({name: settings["task"] for name, settings in conditions.items()})
    tasks = [of_task for _, of_task in claims.groupby(task_of, sort=False)]
    heights = [FRAME + ROW * len(rows) for rows in tasks] or [FRAME]
    longest = max(map(len, map(_label, claims.itertuples())), default=0)
    figure = Figure(figsize=(PANELS_WIDTH + CHARACTER * longest, sum(heights)))
    axes = figure.subplots(len(heights), 2, squeeze=False, sharey="row", height_ratios=heights)
    for row, of_task in zip(axes, tasks, strict=False):
        _task(row, of_task)
    return figure


def _label(claim):
    """Return the label of a row: the claim and its source in the paper."""
    return f"{claim.label} · {claim.source}"


def _task(axes, claims):
    """Draw the claims about one task, the first one at the top."""
    rows = np.arange(len(claims))[::-1]
    for ax, (compare, title) in zip(axes, PANELS.items(), strict=True):
        chosen = (claims["compare"] == compare).to_numpy()
        _panel(ax, claims[chosen], rows[chosen], ratio=compare == "log_ratio")
        ax.set_title(title)
    # A dollar sign in a label is a dollar sign.
    axes[0].set_yticks(rows, list(map(_label, claims.itertuples())), fontsize="small", parse_math=False)
    axes[0].set_ylim(-0.7, len(claims) - 0.3)
    axes[1].tick_params(left=False)
    for row, claim in zip(rows, claims.itertuples(), strict=True):
        flips = " *" if isinstance(claim.flips_under, str) and claim.flips_under else ""
        diverged = f" ({claim.n_diverged:.0f} diverged)" if claim.n_diverged > 0 else ""
        axes[1].annotate(
            claim.verdict + flips + diverged,
            (1.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize="small",
            color=VERDICTS[claim.verdict]["color"],
        )


def _panel(ax, claims, rows, *, ratio):
    """Draw effects and intervals. Those that reach beyond all finite effects and margins are cut off."""
    ax.axvline(1 if ratio else 0, color="black", linewidth=0.6)
    if ratio:
        ax.set_xscale("log")
    scale = np.exp if ratio else np.asarray
    shown = np.abs(claims[["effect", "margin"]].to_numpy(dtype=float))
    reach = 1.3 * shown[np.isfinite(shown)].max(initial=0.05)
    for row, claim in zip(rows, claims.itertuples(), strict=True):
        look = VERDICTS[claim.verdict]
        effect, low, high = np.clip([claim.effect, claim.ci_low, claim.ci_high], -reach, reach)
        ax.plot(scale([low, high]), [row, row], color=look["color"], linewidth=1.4)
        ax.plot(scale(effect), row, color=look["color"], marker=look["marker"], markersize=4)
        # The line through all claims already shows a boundary at 0.
        for boundary in boundaries(claim.expected, claim.margin):
            if np.isfinite(boundary) and boundary:
                ax.plot(scale([boundary] * 2), [row - 0.4, row + 0.4], "k:", linewidth=1)
    ax.set_xlim(*scale([-reach, reach]))
    ax.grid(axis="y", linewidth=0.3)
