"""A forest plot of all claims, by figure: effect, interval, expected effects and verdict."""

import re
import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import blended_transform_factory

from bnopt.figures import _drawing, _effects
from bnopt.judged import natural
from bnopt.study import names
from bnopt.verdicts import boundaries

# Sizes in inches. A page of the report holds a page of the figure with a heading and the caption; the
# legend stands at its top.
MOST_HEIGHT, LEGEND = 8.6, 0.5
# Of a line of text in a row, what rows have besides, a heading, and an axis with its ticks.
LINE, BETWEEN, HEADING, AXIS = 0.112, 0.03, 0.24, 0.25
# Where the panel begins and ends, and where verdicts begin.
LEFT, RIGHT, WORDS = 3.15, 5.15, 5.35
# Points; characters of a label in a line.
SIZE, CHARACTERS = 7, 56
OURS = "our extension"


def draw(over_seeds, first_seed, *, units):
    """Return pages with a row per claim, by figure, and within a figure by the unit of the effect.

    units: claim -> the unit of its effect (`study.unit`)

    Shaded: the effects that support a claim; dotted: its boundaries. Filled: confirmed or refuted. Intervals
    that reach far beyond all effects of their panel are cut off.
    """
    del first_seed
    claims = over_seeds["claims"]
    claims = claims.assign(unit=claims["claim"].map(units))
    groups = sorted(claims.groupby("family", sort=False), key=lambda group: _order(group[0]))
    return [_page(page) for page in _paged(groups)]


def _order(family):
    """Return what families are sorted by: figures by their number, then the others in their own order."""
    number = re.fullmatch(r"fig(\d+)([a-z]?)", family)
    return (0, int(number[1]), number[2]) if number else (1, 0, "")


def _paged(groups):
    """Return lists of groups, each for a page; a group is not divided."""
    pages, free = [[]], MOST_HEIGHT - LEGEND
    for group in groups:
        height = _height(group[1])
        if height > free and pages[-1]:
            pages.append([])
            free = MOST_HEIGHT - LEGEND
        pages[-1].append(group)
        free -= height
    return pages


def _height(claims):
    """Return the height of a group: its heading, and for each unit its rows and an axis."""
    return HEADING + AXIS * claims["unit"].nunique() + sum(map(_row, claims.to_dict("records")))


def _label(claim):
    """Return the lines of a claim's label; a double dagger marks what the paper does not state."""
    ours = "\N{NO-BREAK SPACE}‡" if OURS in claim["source"] else ""
    return textwrap.wrap(claim["label"] + ours, CHARACTERS)


def _row(claim):
    return BETWEEN + LINE * len(_label(claim))


def _page(groups):
    """Return a page: a heading per group, and below it a panel per unit."""
    height = LEGEND + sum(_height(claims) for _, claims in groups)
    figure = Figure(figsize=(_drawing.WIDTH, height), layout="none")
    top = height - LEGEND
    for family, claims in groups:
        text = {"fontsize": SIZE + 1, "fontweight": "bold", "va": "center", "parse_math": False}
        figure.text(0.01, (top - HEADING / 2) / height, names.family(family), **text)
        top -= HEADING
        for unit, of_unit in claims.groupby("unit", sort=False):
            rows = of_unit.to_dict("records")
            bottom = top - sum(map(_row, rows))
            left, width = LEFT / _drawing.WIDTH, (RIGHT - LEFT) / _drawing.WIDTH
            place = (left, bottom / height, width, (top - bottom) / height)
            _panel(figure.add_axes(place), of_unit, unit)
            top = bottom - AXIS
    figure.legend(handles=_legend(), ncols=3, loc="upper left", fontsize=SIZE, borderaxespad=0.2)
    return figure


def _panel(ax, claims, unit):
    """Draw the claims of one figure whose effects have one unit, the first at the top; heights in inches."""
    reach = _effects.limits(claims)
    ends = natural(reach, unit)
    ax.set(xscale="log" if unit == "ratio" else "linear", xlim=ends, yticks=[])
    ax.spines["left"].set_visible(False)
    ax.axvline(natural(0, unit), color="black", linewidth=0.6)
    top = sum(map(_row, claims.to_dict("records")))
    ax.set_ylim(0, top)
    for claim in claims.to_dict("records"):
        height = _row(claim)
        _effect(ax, claim, unit, reach, (top - height, top))
        _texts(ax, claim, top - height / 2)
        top -= height
    _effects.set_ticks(ax.xaxis, unit, ends)
    ax.tick_params(labelsize=SIZE, pad=1.5, length=2)
    ax.annotate(
        _effects.UNITS[unit], (WORDS, -0.1), xycoords=_inches(ax), va="center", fontsize=SIZE,
        color="#555555",
    )  # fmt: skip


def _effect(ax, claim, unit, reach, span):
    """Draw a claim between two heights: the expected effects, the boundaries, the interval and the effect.

    reach: the least and the largest effect that the panel shows
    """

    def shown(effects):
        return natural(np.clip(effects, *reach), unit)

    both = shown(boundaries(claim["expected"], claim["margin"]))
    heights = [span[0] + 0.01, span[1] - 0.01]
    ax.fill_betweenx(heights, *both, color=_effects.EXPECTED, linewidth=0, zorder=0)
    for boundary in shown(_effects.bounds(claim)):
        ax.plot([boundary] * 2, span, "k:", linewidth=1)
    look, middle = _effects.VERDICTS[claim["verdict"]], sum(span) / 2
    low, high, effect = shown([claim[key] for key in ("ci_low", "ci_high", "effect")])
    ax.plot([low, high], [middle] * 2, color=look["color"], linewidth=1.4)
    ax.plot(effect, middle, markersize=4.5, clip_on=False, zorder=3, **_marker(look, claim["grade"]))


def _marker(look, grade):
    """Return the look of an effect: filled if its grade is one of those that hold."""
    return look | {"linestyle": "", "markerfacecolor": look["color"] if grade in _effects.FIRM else "white"}


def _texts(ax, claim, height):
    """Write the label of a claim at the left, and its grade or verdict at the right."""
    look = {"xycoords": _inches(ax), "va": "center", "fontsize": SIZE, "parse_math": False}
    ax.annotate("\n".join(_label(claim)), (0.15, height), linespacing=1.05, **look)
    firm = claim["grade"] in _effects.FIRM
    flips = " *" if isinstance(claim["flips_under"], str) and claim["flips_under"] else ""
    diverged = f" ({claim['n_diverged']:.0f} diverged)" if claim["n_diverged"] > 0 else ""
    word = claim["grade"] if firm else claim["verdict"]
    ax.annotate(word + flips + diverged, (WORDS, height), fontweight="bold" if firm else "normal", **look)


def _inches(ax):
    """Return the transform from inches of the page (across) and of a panel (up)."""
    return blended_transform_factory(ax.figure.dpi_scale_trans, ax.transData)


def _legend():
    """Return what the marks mean."""
    handles = [
        Line2D([], [], markersize=4.5, label=verdict, **_marker(look, ""))
        for verdict, look in _effects.VERDICTS.items()
        if verdict != "not run"
    ]
    filled = _marker({"color": "black", "marker": "o"}, "confirmed")
    return [
        *handles,
        Line2D([], [], markersize=4.5, label="filled: confirmed or refuted", **filled),
        Patch(color=_effects.EXPECTED, label="effects that support the claim"),
        Line2D([], [], linestyle="", label="* changes with the summary   ‡ our extension"),
    ]
