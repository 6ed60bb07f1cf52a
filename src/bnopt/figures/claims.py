"""A forest plot of every claim: effect, interval and verdict."""

import numpy as np
from matplotlib.figure import Figure

VERDICTS = {
    "supported": {"color": "#0072B2", "marker": "o"},
    "contradicted": {"color": "#D55E00", "marker": "X"},
    "inconclusive": {"color": "#777777", "marker": "s"},
    "not run": {"color": "#BBBBBB", "marker": "|"},
}
PANELS = {"difference": "Difference a − b", "log_ratio": "Ratio a / b"}


def draw(over_seeds, first_seed):
    """Return a row per claim in the panel of its kind, its margin dotted, a ratio on a log axis."""
    del first_seed
    claims = over_seeds["claims"]
    figure = Figure(figsize=(9, 0.9 + 0.27 * len(claims)))
    axes = figure.subplots(1, 2, sharey=True)
    rows = np.arange(len(claims))[::-1]
    for ax, (compare, title) in zip(axes, PANELS.items(), strict=True):
        chosen = (claims["compare"] == compare).to_numpy()
        _panel(ax, claims[chosen], rows[chosen], ratio=compare == "log_ratio")
        ax.set_title(title)
    axes[0].set_yticks(rows, [f"{c.claim} · {c.place}" for c in claims.itertuples()])
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
    return figure


def _panel(ax, claims, rows, *, ratio):
    """Draw effects and intervals; one without a bound runs to the edge of the panel."""
    ax.axvline(1 if ratio else 0, color="black", linewidth=0.6)
    if ratio:
        ax.set_xscale("log")
    scale = np.exp if ratio else np.asarray
    shown = [claims[c].to_numpy(dtype=float) for c in ("effect", "ci_low", "ci_high")]
    finite = np.concatenate([v[np.isfinite(v)] for v in shown]) if len(claims) else np.array([])
    reach = 1.15 * max(np.abs(finite).max(initial=0), 0.05)
    for row, claim in zip(rows, claims.itertuples(), strict=True):
        look = VERDICTS[claim.verdict]
        effect, low, high = np.clip([claim.effect, claim.ci_low, claim.ci_high], -2 * reach, 2 * reach)
        ax.plot(scale([low, high]), [row, row], color=look["color"], linewidth=1.4)
        ax.plot(scale(effect), row, color=look["color"], marker=look["marker"], markersize=5)
        margins = {"equivalent": (-1, 1), "not_less": (-1,), "not_greater": (1,)}
        for sign in margins.get(claim.expected, ()):
            ax.plot(scale([sign * claim.margin] * 2), [row - 0.4, row + 0.4], "k:", linewidth=1)
    ax.set_xlim(*scale([-reach, reach]))
    ax.grid(axis="y", linewidth=0.3)
