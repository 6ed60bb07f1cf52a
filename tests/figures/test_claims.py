"""The forest plot of all claims: a row at its effect, interval and expected effects, by figure and unit."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from bnopt import plugins
from figures import artists

# The boundaries of a claim in units of its margin: where the effects that support it end.
SIDES = {"greater": [1], "less": [-1], "not_less": [-1], "not_greater": [1], "equivalent": [-1, 1]}
LOOKS = {
    "supported": ("#00487a", "o"),
    "contradicted": ("#d55e00", "X"),
    "inconclusive": ("#acacac", "s"),
}
GRADES = {"supported": "confirmed", "contradicted": "refuted"}
UNITS = ("ratio", "points", "difference")
AXES = {
    "ratio": "a / b, as a factor",
    "points": "a − b, percentage points",
    "difference": "a − b",
}
# In the order in which the table has them, and in which they are drawn.
FAMILIES = ("fig10", "norms", "fig3b", "edge_vgg", "fig3a")
HEADINGS = [
    "Figure 3(a)",
    "Figure 3(b)",
    "Figure 10",
    "Beyond the paper: the smoother the norm, the better it trains",
    "Beyond the paper: the edge of stability, VGG",
]
ORDER = ("fig3a", "fig3b", "fig10", "norms", "edge_vgg")


def claims():
    """Return a claim of every unit and expectation, with and without margin, in several families.

    No two numbers are alike. A star and the number of diverged runs follow the verdicts of some.
    """
    random = np.random.default_rng(0)
    kinds = itertools.product(SIDES, UNITS, (False, True), range(3))
    rows = []
    for number, (expected, unit, strict, _) in enumerate(kinds):
        margin = 0.0 if strict and expected != "equivalent" else random.uniform(0.1, 0.5)
        effect, verdict = random.normal(), list(LOOKS)[number % 3]
        long = " that has so many words that they need a second line" if number % 9 == 4 else ""
        rows.append(
            {
                "claim": f"claim_{number}", "label": f"Claim {number}{long}", "unit": unit,
                "source": "Figure 4, our extension" if number % 8 == 3 else f"Figure {number}(a)",
                "family": FAMILIES[number * 7 % len(FAMILIES)],
                "compare": "log_ratio" if unit == "ratio" else "difference", "expected": expected,
                "margin": margin, "effect": effect, "ci_low": effect - random.uniform(0.01, 0.2),
                "ci_high": effect + random.uniform(0.01, 0.2), "verdict": verdict,
                "grade": GRADES.get(verdict, math.nan) if number % 2 else math.nan,
                "flips_under": "median" if number % 4 == 1 else math.nan,
                "n_diverged": 2 + number if number % 5 == 2 else 0,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


CLAIMS = claims().to_dict("records")
UNIT_OF = {claim["claim"]: claim["unit"] for claim in CLAIMS}


def drawn(table):
    table = table.drop(columns="unit")
    return plugins.load("figures", "claims").draw({"claims": table}, {}, units=UNIT_OF)


@pytest.fixture(scope="module")
def pages():
    return drawn(claims())


def panels(pages):
    """Return (page, axes, claims) of every panel, from the first page to the last."""
    axes = [(page, ax) for page in pages for ax in page.axes]
    expected = []
    for family in ORDER:
        of_family = [claim for claim in CLAIMS if claim["family"] == family]
        for unit in dict.fromkeys(claim["unit"] for claim in of_family):
            expected.append([claim for claim in of_family if claim["unit"] == unit])
    return [(page, ax, of) for (page, ax), of in zip(axes, expected, strict=True)]


@pytest.fixture(scope="module")
def rows(pages):
    """List of (claim, its axes, its label, its verdict), in the order of the rows."""
    found = []
    for _, ax, of_panel in panels(pages):
        texts = ax.texts[:-1]  # the last one is the unit
        for claim, label, verdict in zip(of_panel, texts[::2], texts[1::2], strict=True):
            found.append((claim, ax, label, verdict))
    return found


def in_units(claim, value):
    if claim["unit"] == "ratio":
        return math.exp(value)
    return value * (100 if claim["unit"] == "points" else 1)


def at_height(ax, height, *, dotted):
    """Return the lines of a panel in the row of a claim: those along it, or those across it."""
    lines = [line for line in ax.lines if line.get_transform() is ax.transData]
    return [
        line
        for line in lines
        if np.mean(line.get_ydata()) == pytest.approx(height) and (line.get_linestyle() == ":") == dotted
    ]


def test_pages_have_headings_in_the_order_of_figures_and_panels_by_unit(pages):
    headings = [text for page in pages for text in page.texts]
    assert [text.get_text() for text in headings] == HEADINGS
    for page, ax, of_panel in panels(pages):
        assert ax.texts[-1].get_text() == AXES[of_panel[0]["unit"]]
        assert ax.get_xscale() == ("log" if of_panel[0]["unit"] == "ratio" else "linear")
        above = [
            text.get_text() for text in page.texts if text.get_position()[1] > ax.get_position().y1 - 1e-9
        ]
        assert above[-1] == HEADINGS[ORDER.index(of_panel[0]["family"])]


def test_each_claim_is_drawn_at_its_effect_with_its_interval_and_filled_by_its_grade(rows):
    assert len(rows) == len(CLAIMS)
    for claim, ax, label, _ in rows:
        interval, effect = at_height(ax, label.xy[1], dotted=False)
        colour, marker = LOOKS[claim["verdict"]]
        low, high = ax.get_xlim()
        expected = [min(max(in_units(claim, claim[key]), low), high) for key in ("ci_low", "ci_high")]
        assert list(interval.get_xdata()) == pytest.approx(expected)
        assert np.atleast_1d(effect.get_xdata()).tolist() == pytest.approx([in_units(claim, claim["effect"])])
        assert (artists.look(effect)[0], effect.get_marker()) == (colour, marker)
        assert artists.look(interval) == (colour, None)
        filled = isinstance(claim["grade"], str)
        assert artists.colour(effect.get_markerfacecolor()) == (colour if filled else "#ffffff")
        assert artists.colour(effect.get_markeredgecolor()) == colour


def test_the_boundaries_of_a_claim_are_dotted_and_the_effects_that_support_it_shaded(rows):
    shades = {}
    for claim, ax, label, _ in rows:
        height = label.xy[1]
        sides = [side * claim["margin"] for side in SIDES[claim["expected"]]]
        found = [line.get_xdata() for line in at_height(ax, height, dotted=True)]
        if claim["margin"] == 0:
            assert found == []
        else:
            expected = [in_units(claim, side) for side in sides]
            assert [sorted(set(x)) for x in found] == [[pytest.approx(x)] for x in expected]
        # Every seventh of the row's panel: shaded where, and only where, an effect would support the claim.
        shade = ax.collections[shades.setdefault(ax, 0)]
        shades[ax] += 1
        (path,) = shade.get_paths()
        left, right = path.vertices[:, 0].min(), path.vertices[:, 0].max()
        bottom, top = path.vertices[:, 1].min(), path.vertices[:, 1].max()
        assert bottom < height < top
        low, high = ax.get_xlim()
        scale = np.geomspace if claim["unit"] == "ratio" else np.linspace
        for x in scale(low, high, 8)[1:-1]:
            effect = {"ratio": math.log(x) if x > 0 else 0, "points": x / 100, "difference": x}[claim["unit"]]
            margin = claim["margin"]
            supports = {
                "greater": effect > margin, "less": effect < -margin, "not_less": effect > -margin,
                "not_greater": effect < margin, "equivalent": abs(effect) < margin,
            }  # fmt: skip
            assert (left < x < right) == supports[claim["expected"]]


def test_labels_and_verdicts_stand_in_the_row_of_their_claim(pages, rows):
    for claim, _, label, verdict in rows:
        ours = "\N{NO-BREAK SPACE}‡" if "our extension" in claim["source"] else ""
        assert label.get_text().replace("\n", " ") == claim["label"] + ours
        assert all(len(line) <= 56 for line in label.get_text().split("\n"))
        star = " *" if claim["flips_under"] == "median" else ""
        lost = f" ({claim['n_diverged']} diverged)" if claim["n_diverged"] else ""
        graded = isinstance(claim["grade"], str)
        assert verdict.get_text() == (claim["grade"] if graded else claim["verdict"]) + star + lost
        assert verdict.get_fontweight() == ("bold" if graded else "normal")
        assert verdict.xy[1] == label.xy[1]
        assert label.xy[0] < verdict.xy[0]
    for _, ax, of_panel in panels(pages):
        heights = [text.xy[1] for text in ax.texts[:-1:2]]
        assert heights == sorted(heights, reverse=True)
        assert len(heights) == len(of_panel)
        assert 0 < heights[-1] < heights[0] < ax.get_ylim()[1]


def test_axes_hold_no_effect_all_effects_and_all_boundaries(pages):
    for _, ax, of_panel in panels(pages):
        none = in_units(of_panel[0], 0.0)
        (line,) = (line for line in ax.lines if line.get_transform() is not ax.transData)
        assert set(line.get_xdata()) == {none}
        marks = [in_units(claim, claim["effect"]) for claim in of_panel]
        marks += [in_units(c, side * c["margin"]) for c in of_panel for side in SIDES[c["expected"]]]
        low, high = ax.get_xlim()
        assert low < min(none, *marks)
        assert max(none, *marks) < high


def texts_of(page):
    return [text for text in page.findobj(Text) if text.get_text() and text.get_visible()]


def test_a_page_is_as_wide_as_the_reports_text_and_all_its_text_is_at_least_7_points(pages):
    assert len(pages) > 1
    for page in pages:
        width, height = page.get_size_inches()
        assert width == pytest.approx(17.4 / 2.54, abs=0.01)
        assert height <= 8.6
        assert min(text.get_fontsize() for text in texts_of(page)) >= 7
    # A group is on a new page only if it does not fit into the rest of the one before.
    for one, another in itertools.pairwise(pages):
        first, *others = (text.get_position()[1] * another.get_size_inches()[1] for text in another.texts)
        group = first - (others[0] if others else -0.12)
        assert one.get_size_inches()[1] + group > 8.6
    assert sum(len(page.texts) for page in pages) == len(HEADINGS)


def tick_labels(ax):
    """Return the labels of the ticks that a panel shows."""
    low, high = ax.get_xlim()
    labels = zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    return [label for tick, label in labels if label.get_text() and low <= tick <= high]


def test_no_text_is_clipped_or_covers_another_or_a_panel(pages):
    for page in pages:
        FigureCanvasAgg(page).draw()
        boxes = [text.get_window_extent() for ax in page.axes for text in ax.texts]
        boxes += [text.get_window_extent() for text in page.texts]
        for box in boxes:
            assert 0 <= box.x0 < box.x1 <= page.bbox.x1
            assert 0 <= box.y0 < box.y1 <= page.bbox.y1
            assert not any(box.overlaps(ax.bbox) for ax in page.axes)
        (legend,) = page.legends
        boxes.append(legend.get_window_extent())
        boxes += [label.get_window_extent() for ax in page.axes for label in tick_labels(ax)]
        for one, another in itertools.combinations(boxes, 2):
            assert not one.overlaps(another)


def test_the_legend_explains_every_mark(pages):
    for page in pages:
        (legend,) = page.legends
        entries = {
            text.get_text(): handle
            for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        }
        assert list(entries) == [
            *LOOKS, "filled: confirmed or refuted", "effects that support the claim",
            "* changes with the summary   ‡ our extension",
        ]  # fmt: skip
        for verdict, (colour, marker) in LOOKS.items():
            assert artists.colour(entries[verdict].get_color()) == colour
            assert entries[verdict].get_marker() == marker
            assert artists.colour(entries[verdict].get_markerfacecolor()) == "#ffffff"
        filled = entries["filled: confirmed or refuted"]
        assert artists.colour(filled.get_markerfacecolor()) == artists.colour(filled.get_color())


def test_a_figure_whose_claims_do_not_fit_stands_alone_on_a_page_that_is_longer():
    many = claims().assign(family="fig4")
    many = pd.concat([many.assign(claim=many["claim"] + f"_{i}") for i in range(2)])
    units = {row["claim"]: "difference" for row in many.to_dict("records")}
    few = claims().head(2).assign(family="fig5")
    units |= dict.fromkeys(few["claim"], "difference")
    pages = plugins.load("figures", "claims").draw({"claims": pd.concat([many, few])}, {}, units=units)
    assert [[text.get_text() for text in page.texts] for page in pages] == [["Figure 4"], ["Figure 5"]]
    assert pages[0].get_size_inches()[1] > 9


def test_pages_are_as_full_as_they_may_be():
    one = claims().head(1)
    many = pd.concat([one.assign(claim=f"c{i}", family=f"fig{i}") for i in range(40)])
    units = dict.fromkeys(many["claim"], "difference")
    *full, last = plugins.load("figures", "claims").draw({"claims": many}, {}, units=units)
    # A heading, a row of one line, and an axis; half an inch of legend.
    group = 0.24 + 0.142 + 0.25
    assert [len(page.axes) for page in full] == [math.floor((8.6 - 0.5) / group)] * len(full)
    assert sum(len(page.axes) for page in [*full, last]) == 40
    assert last.get_size_inches()[1] == pytest.approx(0.5 + group * len(last.axes))


def test_without_claims_there_is_an_empty_page():
    (page,) = drawn(claims().head(0))
    assert page.axes == []


# -- colours ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eye", artists.EYES)
def test_verdicts_differ_in_grey_and_for_colour_blind_eyes(eye):
    for one, another in itertools.combinations([colour for colour, _ in LOOKS.values()], 2):
        first, second = artists.lab(one, eye), artists.lab(another, eye)
        assert abs(first[0] - second[0]) > 10  # lightness alone, as in grey prints
        assert np.linalg.norm(first - second) > 25
