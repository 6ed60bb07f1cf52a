"""The forest plot of all claims: every row at its effect, interval and boundaries, with its verdict."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from bnopt import plugins
from figures import artists

CONDITIONS = {"vgg_batch": {"task": "vgg"}, "deep_linear_batch": {"task": "deep_linear"}}
# The boundaries of a claim in units of its margin: where the effects that support it end.
SIDES = {"greater": [1], "less": [-1], "not_less": [-1], "not_greater": [1], "equivalent": [-1, 1]}
LOOKS = {
    "supported": ("#0072b2", "o"),
    "contradicted": ("#d55e00", "X"),
    "inconclusive": ("#777777", "s"),
}
TITLES = {"difference": "Difference a − b", "log_ratio": "Ratio a / b"}


def claims():
    """Return a claim of every kind of comparison and expectation, with and without margin, of each task.

    No two numbers are alike. A star and the number of diverged runs follow the verdicts of some.
    """
    random = np.random.default_rng(0)
    kinds = itertools.product(SIDES, TITLES, (False, True), CONDITIONS)
    rows = []
    for number, (expected, compare, strict, condition) in enumerate(kinds):
        margin = 0.0 if strict and expected != "equivalent" else random.uniform(0.1, 0.5)
        effect = random.normal()
        rows.append(
            {
                "claim": f"claim_{number}", "label": f"Claim {number}", "source": f"Figure {number}(a)",
                "condition_a": condition, "compare": compare, "expected": expected, "margin": margin,
                "effect": effect, "ci_low": effect - random.uniform(0.01, 0.2),
                "ci_high": effect + random.uniform(0.01, 0.2),
                "verdict": list(LOOKS)[number % 3],
                "flips_under": "median" if number % 4 == 1 else math.nan,
                "n_diverged": 2 + number if number % 5 == 2 else 0,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def figure():
    return plugins.load("figures", "claims").draw({"claims": claims()}, {}, conditions=CONDITIONS)


def pairs(figure):
    """Return the two panels of each task: of differences and of ratios."""
    return list(zip(figure.axes[::2], figure.axes[1::2], strict=True))


@pytest.fixture(scope="module")
def rows(figure):
    """List of (claim, its axes, the other axes, its height): per task, the first claim at the top."""
    found = []
    for axes, condition in zip(pairs(figure), CONDITIONS, strict=True):
        of_task = [c for c in claims().to_dict("records") if c["condition_a"] == condition]
        for height, claim in zip(reversed(range(len(of_task))), of_task, strict=True):
            own, other = axes if claim["compare"] == "difference" else reversed(axes)
            found.append((claim, own, other, height))
    return found


def at_height(ax, height, *, dotted):
    """Return the lines of a panel in the row of a claim: those along it, or those across it."""
    lines = [line for line in ax.lines if line.get_transform() is ax.transData]
    return [
        line
        for line in lines
        if np.mean(line.get_ydata()) == pytest.approx(height) and (line.get_linestyle() == ":") == dotted
    ]


def in_units(claim, value):
    return math.exp(value) if claim["compare"] == "log_ratio" else value


def test_each_claim_is_drawn_once_at_its_effect_with_its_interval(rows):
    for claim, own, other, height in rows:
        interval, effect = at_height(own, height, dotted=False)
        colour, marker = LOOKS[claim["verdict"]]
        expected = [in_units(claim, claim[key]) for key in ("ci_low", "ci_high")]
        assert list(interval.get_xdata()) == pytest.approx(expected)
        assert np.atleast_1d(effect.get_xdata()).tolist() == pytest.approx([in_units(claim, claim["effect"])])
        assert (artists.look(effect)[0], effect.get_marker()) == (colour, marker)
        assert artists.look(interval) == (colour, None)
        assert at_height(other, height, dotted=False) == []


def test_the_boundaries_of_a_claim_are_dotted_on_their_side(rows):
    for claim, own, other, height in rows:
        expected = [in_units(claim, side * claim["margin"]) for side in SIDES[claim["expected"]]]
        found = [line.get_xdata() for line in at_height(own, height, dotted=True)]
        if claim["margin"] == 0:
            assert found == []
        else:
            assert [sorted(set(x)) for x in found] == [[pytest.approx(x)] for x in expected]
        assert at_height(other, height, dotted=True) == []


def test_labels_sources_and_verdicts_stand_in_the_row_of_their_claim(figure, rows):
    for row, (left, right) in enumerate(pairs(figure)):
        of_task = [
            (claim, height) for claim, _, _, height in rows if claim["condition_a"] == list(CONDITIONS)[row]
        ]
        labels = dict(zip(left.get_yticks(), (t.get_text() for t in left.get_yticklabels()), strict=True))
        assert labels == {height: f"{claim['label']} · {claim['source']}" for claim, height in of_task}
        verdicts = {text.xy[1]: (text.get_text(), artists.colour(text.get_color())) for text in right.texts}
        expected = {}
        for claim, height in of_task:
            star = " *" if claim["flips_under"] == "median" else ""
            lost = f" ({claim['n_diverged']} diverged)" if claim["n_diverged"] else ""
            expected[height] = (claim["verdict"] + star + lost, LOOKS[claim["verdict"]][0])
        assert verdicts == expected
        assert not left.texts


def test_panels_have_their_titles_scales_and_a_line_at_no_effect(figure):
    for left, right in pairs(figure):
        assert [left.get_title(), right.get_title()] == list(TITLES.values())
        assert [left.get_xscale(), right.get_xscale()] == ["linear", "log"]
        for ax, none in ((left, 0), (right, 1)):
            (line,) = (line for line in ax.lines if line.get_transform() is not ax.transData)
            assert set(line.get_xdata()) == {none}
            low, high = ax.get_xlim()
            assert low < none < high
