"""The figure of the theorems: distributions over cases, and shares and premises over training."""

import math

import numpy as np
import pytest

from bnopt.figures import _drawing
from figures import artists, by_hand, tables

CONDITIONS = {
    "vgg_none": "Standard, VGG",
    "vgg_batch": "Standard + BatchNorm, VGG",
    "deep_linear_none": "Standard, DLN",
    "deep_linear_batch": "Standard + BatchNorm, DLN",
}
BLACK = ("#000000", None)
# Title, label and scale of the horizontal axis, of the upper row.
UPPER = [
    ("(a) Identities", "Relative error", "log"),
    ("(b) Thm 4.2, 2nd part\nwithout its premise", "Relative slack", "linear"),
    ("(c) Thm 4.4 as printed", "Relative slack", "symlog"),
    ("(d) Thm C.1,\nits worst inputs", "Relative excess", "linear"),
]
# Column -> title, of the lower rows.
LOWER = {
    "thm4.1_mean_share": "Share of ‖g‖² taken\nby its mean (Thm 4.1)",
    "thm4.1_correlation_share": "Share of ‖g‖² taken\nby ⟨g, ŷ⟩ (Thm 4.1)",
    "thm4.2_premise": "dᵀHd ≤ gᵀHg\n(premise of Thm 4.2)",
    "thm4.2_positive_correlation": "⟨g, ŷ⟩ ≥ 0\n(Section 4)",
    "thm4.2_semidefinite": "H ⪰ 0\n(Section 4)",
}
TASKS = {"vgg": ("#5", "#11"), "deep_linear": ("#9", "#17")}


@pytest.fixture
def figure(drawn):
    return drawn("theorems")


def look(whole, condition):
    return artists.style_look(_drawing.style(whole["conditions"][condition]))


def at_eps_0(column, **chosen):
    """Return a column of the random layers, at ε = 0, of the rows with the chosen values."""
    return [
        row[column]
        for row in by_hand.records(tables.random_layers())
        if row["eps"] == 0 and all(row[key] == value for key, value in chosen.items())
    ]


def of_condition(raw, condition, *columns):
    """Return columns of the first seed's probe of a condition, one after the other."""
    rows = by_hand.records(raw("theorems", condition, tables.SEEDS[0]))
    return [row[column] for row in rows for column in columns]


def check_cumulative(line, values):
    """Check that a line steps up, at each finite value, to the share of the values that are at most it."""
    assert line.get_drawstyle() == "steps-post"
    expected = {x: share for x, share in by_hand.cumulative(values) if math.isfinite(x)}
    highest = {}
    for x, share in zip(*(data.tolist() for data in line.get_data()), strict=True):
        highest[x] = max(share, highest.get(x, 0))
    assert list(highest) == pytest.approx(list(expected), rel=1e-12, abs=0)
    assert list(highest.values()) == pytest.approx(list(expected.values()))


@pytest.mark.parametrize(
    ("column", "random", "measured", "least"),
    [
        (0, "error", tables.ERRORS, 1e-17),
        (1, "bound_slack", ["thm4.2_bound_slack"], -math.inf),
        (2, "printed_slack", ["thm4.4_printed_slack"], -math.inf),
    ],
)
def test_the_upper_row_shows_random_layers_and_the_nets_of_the_first_seed(
    figure, whole, raw, column, random, measured, least
):
    ax = figure.subfigs[0].axes[column]
    lines = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    check_cumulative(lines[0], [max(value, least) for value in at_eps_0(random)])
    assert artists.look(lines[0]) == BLACK
    for line, condition in zip(lines[1:], CONDITIONS, strict=True):
        check_cumulative(line, [max(value, least) for value in of_condition(raw, condition, *measured)])
        assert artists.look(line) == look(whole, condition)
        assert (line.get_alpha() or 1) == (1 if condition.startswith("vgg") else 0.5)


def test_the_excess_over_the_worst_inputs_has_a_line_per_loss(figure):
    ax = figure.subfigs[0].axes[3]
    losses = ["convex", "nonconvex", "relu_net", "bn_net"]
    for line, loss in zip(ax.lines, losses, strict=True):
        check_cumulative(line, at_eps_0("excess", loss=loss))
        assert line.get_color() == "black"
    entries = artists.legend(ax.get_legend())
    assert [text for text, _ in entries] == ["convex", "non-convex", "ReLU net", "BN net"]
    assert [look for _, look in entries] == [artists.look(line) for line in ax.lines]
    assert len({look for _, look in entries}) == len(losses)


def test_the_upper_row_has_its_titles_axes_and_marks(figure):
    axes = figure.subfigs[0].axes
    assert [(ax.get_title(), ax.get_xlabel(), ax.get_xscale()) for ax in axes] == UPPER
    assert [ax.get_ylabel() for ax in axes] == ["Share of cases", "", "", ""]
    assert {ax.get_ylim() for ax in axes} == {(0, 1.02)}
    assert (axes[1].get_xlim(), axes[3].get_xlim()) == ((-1, 1), (0, 1))
    assert axes[0].get_xlim()[0] == 1e-17
    # Dotted: the tolerance of 1e-9, and the slack below which the printed bound is negative.
    marks = [
        [(line.get_xdata()[0], line.get_linestyle()) for line in ax.lines if len(set(line.get_xdata())) == 1]
        for ax in axes
    ]
    assert marks == [[(1e-9, ":")], [], [(-1, ":")], []]
    assert [[text.get_text() for text in ax.texts] for ax in axes] == [[], ["violated"], ["violated"], []]
    for ax in axes[1:3]:
        (shade,) = ax.patches
        assert shade.get_x() == ax.get_xlim()[0]
        assert shade.get_x() + shade.get_width() == pytest.approx(0)
        assert ax.texts[0].get_position()[0] < 0.5
    for ax in axes:
        values = [x for line in ax.lines if line.get_drawstyle() == "steps-post" for x in line.get_xdata()]
        low, high = ax.get_xlim()
        assert ax is axes[1] or low <= min(values) < max(values) <= high


def test_the_legend_names_norm_and_task(figure, whole):
    (legend,) = figure.subfigs[0].legends
    expected = [(text, look(whole, condition)) for condition, text in CONDITIONS.items()]
    assert artists.legend(legend) == [("random layers", BLACK), *expected]


@pytest.mark.parametrize(("row", "task"), list(enumerate(TASKS, start=1)))
@pytest.mark.parametrize(("column", "quantity"), list(enumerate(LOWER)))
def test_the_lower_rows_show_means_per_layer_and_over_layers(figure, whole, raw, row, task, column, quantity):
    part = figure.subfigs[row]
    ax = part.axes[column]
    assert ax.get_title() == LOWER[quantity]
    assert (part.get_supylabel(), part.get_supxlabel()) == (
        {"vgg": "VGG", "deep_linear": "DLN"}[task],
        "Steps",
    )
    share = quantity.endswith("share")
    assert ax.get_yscale() == ("log" if share else "linear")
    assert ax.get_ylim() == pytest.approx((5e-7, 2) if share else (-0.03, 1.03))
    lines = list(ax.lines)
    for condition in (name for name in CONDITIONS if name.startswith(task)):
        thin, (thick,) = lines[:2], lines[2:3]
        lines = lines[3:]
        of_layers = [means(raw, condition, layer, quantity, 1e-6 if share else 0) for layer in TASKS[task]]
        found = [artists.points(line) for line in thin]
        for values in of_layers:
            assert any(one == pytest.approx(values) for one in found)
        assert artists.points(thick) == pytest.approx(
            {step: sum(of[step] for of in of_layers) / len(of_layers) for step in of_layers[0]}
        )
        for line in (*thin, thick):
            assert artists.look(line) == look(whole, condition)
        assert {line.get_linewidth() for line in thin} == {0.5}
        assert thick.get_linewidth() > 0.5
    assert not lines


def means(raw, condition, layer, quantity, least):
    """Return step -> mean over units and seeds, at least `least`."""
    runs = []
    for seed in tables.SEEDS:
        rows = [row for row in by_hand.records(raw("theorems", condition, seed)) if row["layer"] == layer]
        runs.append(
            {
                step: np.mean([row[quantity] for row in rows if row["step"] == step])
                for step in {row["step"] for row in rows}
            }
        )
    return {step: max(mean, least) for step, (mean, _, _) in by_hand.over_seeds(runs).items()}
