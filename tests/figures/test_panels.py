"""Every figure shows what its caption says: each panel is read back and compared with numbers made by hand.

`FIGURES` states what the paper's panels show. A figure is covered once it is stated here.
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from bnopt import plugins
from bnopt.figures import _drawing
from figures import artists, by_hand, tables

REPORT = Path(__file__).parents[2] / "paper" / "main.tex"
# Tests of their own: figures of distributions and of verdicts.
ELSEWHERE = {
    "theorems": "test_theorems.py",
    "claims": "test_claims.py",
    "specification": "../contracts/test_figures.py",
    **dict.fromkeys(("edge", "shift", "norms"), "../unit/test_mechanism_figures.py"),
}
LEGEND = {
    "none": "Standard",
    "batch": "Standard + BatchNorm",
    "noisy_batch": "Standard + “Noisy” BatchNorm",
    "l1": "Standard + L₁",
    "l2": "Standard + L₂",
    "linf": "Standard + L∞",
}
# Figure 1: the rate is the colour, the norm the line.
RED, GREEN, SOLID, DASHED = "#d55e00", "#005a43", None, (3.7, 1.6)
RATES = {
    "vgg_none": ("Standard, lr 0.1", (RED, SOLID)),
    "vgg_batch": ("Standard + BatchNorm, lr 0.1", (RED, DASHED)),
    "vgg_none_lr0.5": ("Standard, lr 0.5", (GREEN, SOLID)),
    "vgg_batch_lr0.5": ("Standard + BatchNorm, lr 0.5", (GREEN, DASHED)),
}


# What a panel shows instead of a quantity, and how far its vertical axis reaches.
RIDGES, STEP_SIZES, FROM_0 = "ridges", "step sizes", "from 0"


@dataclass(frozen=True)
class Panel:
    """What a panel shows.

    conditions  in the order in which they are drawn
    shows       a quantity: curves with intervals; two: the band between them; RIDGES; STEP_SIZES
    title, x, y, scale    texts of the panel, and the scale of its vertical axis
    factor      what values are multiplied by: 100 for %
    layer       the paper's name of the layer
    limits      of the vertical axis: FROM_0 (above all lines, or just around them if logarithmic), numbers,
                or None: wherever all lines are inside
    dashed_at   the value of a dashed line across the panel
    """

    conditions: tuple
    shows: str | tuple
    title: str = ""
    x: str = "Steps"
    y: str = ""
    scale: str = "linear"
    factor: int = 1
    layer: str = ""
    limits: str | tuple | None = FROM_0
    dashed_at: float | None = None


def names(task, *norms):
    return tuple(f"{task}_{norm}" for norm in norms)


VGG, DLN = (names(task, "none", "batch") for task in ("vgg", "deep_linear"))
NOISY = names("vgg", "none", "batch", "noisy_batch")
VGG_NORMS, DLN_NORMS = (names(task, "none", "batch", "l1", "l2", "linf") for task in ("vgg", "deep_linear"))
# At the scale of these tests the paper's layers have other numbers.
LAYER = {
    "#1": "Layer #1",
    "#2": "Layer #2",
    "#3": "Layer #3",
    "#5": "Layer #5\n(here 4)",
    "#9": "Layer #9\n(here 5)",
    "#10": "Layer #10\n(here 6)",
    "#11": "Layer #11\n(here 7)",
    "#13": "Layer #13\n(here 8)",
}


def ridges(condition, layer, *, title="", y=""):
    return Panel((condition,), RIDGES, layer=layer, title=title, y=y, x="", limits=None)


def on_two_lines(text):
    return "\n+ ".join(text.split(" + "))


def ridge_grid(conditions, layers, *, right_of=0):
    """Return place -> panel: a row per layer, a column per condition, to the right of other columns."""
    return {
        (row, right_of + column): ridges(
            condition,
            layer,
            title="" if row else on_two_lines(LEGEND[condition.removeprefix("vgg_")]),
            y="" if column else LAYER[layer],
        )
        for row, layer in enumerate(layers)
        for column, condition in enumerate(conditions)
    }


def shift(row, conditions, training, layers):
    """Return place -> panel of a row of Figure 3: training, then per layer the difference over the cosine."""
    found = {(row, 0): training}
    for column, (layer, title) in enumerate(layers.items(), start=1):
        found[row, column] = Panel(
            conditions, "difference", title, layer=layer, scale="log", x="", y="‖G − G′‖₂"
        )
        found[row + 1, column] = Panel(
            conditions, "cosine", layer=layer, x="", y="cosine", limits=(-1.1, 1.1), dashed_at=1
        )
    return found


def shifts():
    """Return place -> panel of Figure 3."""
    vgg = {"#5": "Layer #5 (here 4)", "#10": "Layer #10 (here 6)"}
    dln = {"#9": "Layer #9", "#17": "Layer #17"}
    accuracy = {"y": "Training accuracy (%)", "factor": 100}
    loss = {"y": "Training loss", "scale": "log"}
    rows = [
        (VGG, "accuracy", "(a) VGG, lr 0.1", accuracy, vgg),
        (("vgg_none_lr0.01", "vgg_batch_lr0.01"), "accuracy", "(a) VGG, lr 0.01", accuracy, vgg),
        (DLN, "loss", "(b) Deep linear network, lr 10⁻⁶", loss, dln),
        (
            ("deep_linear_none_lr1e-7", "deep_linear_batch_lr1e-7"),
            "loss",
            "(b) Deep linear network, lr 10⁻⁷",
            loss,
            dln,
        ),
    ]
    found = {}
    for number, (conditions, quantity, title, texts, layers) in enumerate(rows):
        found |= shift(2 * number, conditions, Panel(conditions, quantity, title, **texts), layers)
    return found


def landscape(conditions, *scales):
    """Return place -> panel of Figures 4 and 10; scales: of the three vertical axes."""
    shown = {
        "(a) Loss along the gradient": ("loss_min", "loss_max"),
        "(b) Gradient predictiveness": ("predictiveness_min", "predictiveness"),
        "(c) Effective β-smoothness": "beta",
    }
    return {
        (0, column): Panel(conditions, shows, title, scale=scale)
        for column, ((title, shows), scale) in enumerate(zip(shown.items(), scales, strict=True))
    }


def each_norm(conditions, training, *scales):
    """Return place -> panel of Figures 12 and 13; scales: of (b), (c) and (d)."""
    return {
        (0, 0): training,
        (0, 1): Panel(conditions, "predictiveness", "(b) Gradient predictiveness", scale=scales[0]),
        (1, 0): Panel(conditions, "loss_variation", "(c) Loss variation", scale=scales[1]),
        (1, 1): Panel(conditions, "beta", "(d) Effective β-smoothness", scale=scales[2]),
    }


def moments():
    """Return place -> panel of Figure 8: a row per layer, changes in (a), drifts in (b)."""
    columns = {
        "mean_change": ("(a) |μₜ₊₁ − μₜ|", FROM_0),
        "variance_change": ("(a) |σ²ₜ₊₁ − σ²ₜ|", FROM_0),
        "mean_drift": ("(b) μₜ − μ₀", None),
        "variance_drift": ("(b) σ²ₜ − σ²₀", None),
    }
    layers = ("#2", "#9", "#13")
    return {
        (row, column): Panel(
            NOISY,
            quantity,
            "" if row else title,
            layer=layer,
            x="Steps" if row == 2 else "",
            y="" if column else LAYER[layer],
            limits=limits,
        )
        for row, layer in enumerate(layers)
        for column, (quantity, (title, limits)) in enumerate(columns.items())
    }


def outputs():
    """Return place -> panel of Figure 9: a row per condition, a column per layer."""
    return {
        (row, column): ridges(
            condition, layer, title=f"Layer {layer}", y="" if column else on_two_lines(LEGEND[norm])
        )
        for row, (condition, norm) in enumerate(zip(DLN, ("none", "batch"), strict=True))
        for column, layer in enumerate(("#1", "#11", "#24"))
    }


ACCURACY = {"factor": 100, "limits": (0, 102)}
# Figure -> place -> panel; "legend": the conditions in it, "of a band" if its handles are filled.
FIGURES = {
    "fig1": {
        "legend": tuple(RATES),
        (0, 0): Panel(tuple(RATES), "accuracy", "(a) Training accuracy (%)", **ACCURACY),
        (0, 1): Panel(tuple(RATES), "test_accuracy", "(b) Test accuracy (%)", **ACCURACY),
        **ridge_grid(VGG, ("#3", "#11"), right_of=2),
        (0, 2): ridges("vgg_none", "#3", title="(c) Standard", y=LAYER["#3"]),
    },
    "fig2": {
        "legend": NOISY,
        (0, 0): Panel(NOISY, "accuracy", "Training accuracy (%)", **ACCURACY),
        **ridge_grid(NOISY, ("#2", "#9", "#13"), right_of=1),
    },
    "fig3": {"legend": DLN, **shifts()},
    "fig4": {"legend": VGG, **landscape(VGG, "log", "linear", "linear")},
    "fig5": {
        "legend": VGG_NORMS,
        (0, 0): Panel(VGG_NORMS, "accuracy", "(a) VGG: training accuracy (%)", factor=100),
        (0, 1): Panel(DLN_NORMS, "loss", "(b) Deep linear network: training loss", scale="log"),
    },
    "fig6": {"legend": (), **ridge_grid(VGG_NORMS, ("#11",))},
    "fig8": {"legend": NOISY, **moments()},
    "fig9": {"legend": (), **outputs()},
    "fig10": {"legend": DLN, **landscape(DLN, "log", "log", "log")},
    "fig11": {
        "legend": (),
        **{
            (0, column): Panel(
                (condition,),
                STEP_SIZES,
                f"{title}\n{LEGEND[condition.rpartition('_')[2]]}",
                x="η",
                y="" if column else "‖g(θ − ηg) − g‖₂",
                scale=scale,
                limits=None,
            )
            for column, (condition, title, scale) in enumerate(
                [(c, "(a) VGG", "linear") for c in VGG] + [(c, "(b) Deep linear network", "log") for c in DLN]
            )
        },
    },
    "fig12": {
        "legend": VGG_NORMS,
        **each_norm(
            VGG_NORMS,
            Panel(VGG_NORMS, "accuracy", "(a) Training accuracy (%)", factor=100),
            *("linear", "log", "linear"),
        ),
    },
    "fig13": {
        "legend": DLN_NORMS,
        **each_norm(DLN_NORMS, Panel(DLN_NORMS, "loss", "(a) Training loss", scale="log"), *["log"] * 3),
    },
}
PANELS = [
    pytest.param(name, place, id=f"{name}-{place[0]}-{place[1]}")
    for name, stated in FIGURES.items()
    for place in stated
    if place != "legend"
]


# -- the study and its figures ----------------------------------------------------------------------


@pytest.fixture
def numbers(whole, raw):
    """Function: condition, quantity, panel -> step -> (mean, low, high), in the unit of the panel."""

    def numbers(condition, quantity, panel):
        task = whole["conditions"][condition]["task"]
        table = next(t for t, of in COLUMNS.items() if quantity in of)
        runs = [
            by_hand.of_run({table: raw(table, condition, seed)}, quantity, task, panel.layer)
            for seed in tables.SEEDS
        ]
        found = by_hand.over_seeds(runs, logarithmic=panel.scale == "log")
        return {step: tuple(panel.factor * value for value in of_step) for step, of_step in found.items()}

    return numbers


COLUMNS = {
    "training": ("loss", "accuracy", "test_accuracy"),
    "covariate_shift": ("difference", "cosine"),
    "activations": ("mean_change", "variance_change", "mean_drift", "variance_drift"),
    "along_gradient": (
        "loss_min", "loss_max", "loss_variation", "predictiveness_min", "predictiveness", "beta",
    ),
}  # fmt: skip


def look(whole, figure, condition):
    """Return colour and dashes of a condition: as stated in Figure 1, elsewhere those of its norm."""
    if figure == "fig1":
        return RATES[condition][1]
    return artists.style_look(_drawing.style(whole["conditions"][condition]))


def text(whole, figure, condition):
    """Return the text of a condition in the legend."""
    return RATES[condition][0] if figure == "fig1" else LEGEND[whole["conditions"][condition]["norm"]]


def near(numbers):
    return pytest.approx(numbers, rel=1e-9, abs=1e-12)


def same(found, expected):
    """Check that two lists of (x -> value or (low, high)) agree; x in any order."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert sorted(one) == pytest.approx(sorted(other))
        ordered = [[of[x] for x in sorted(of)] for of in (one, other)]
        assert np.array(ordered[0]) == near(np.array(ordered[1]))


# -- the tests --------------------------------------------------------------------------------------


def test_every_figure_states_what_it_shows(config):
    stated = set(FIGURES) | set(ELSEWHERE)
    assert stated == set(plugins.names("figures")) == {*config["figures"], "claims", "specification"}
    assert all((Path(__file__).parent / file).exists() for file in ELSEWHERE.values())


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_exactly_its_panels_in_their_places(drawn, name):
    assert set(artists.panels(drawn(name))) == set(FIGURES[name]) - {"legend"}


@pytest.mark.parametrize(("name", "place"), PANELS)
def test_a_panel_has_its_title_labels_scales_and_limits(drawn, name, place):
    panel, ax = FIGURES[name][place], artists.panels(drawn(name))[place]
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == (panel.title, panel.x, panel.y)
    assert ax.get_yscale() == panel.scale
    assert ax.get_xscale() == (panel.scale if panel.shows == STEP_SIZES else "linear")
    assert not ax.texts
    low, high = ax.get_ylim()
    lines = [line for line in ax.lines if line.get_transform() is ax.transData]
    values = [value for line in lines for value in artists.points(line).values()]
    if panel.limits == FROM_0:
        assert low == pytest.approx(min(values) / 2 if panel.scale == "log" else 0)
        assert high == pytest.approx(max(values) * (2 if panel.scale == "log" else 1.05))
    elif panel.limits is not None:
        assert (low, high) == panel.limits
    assert low <= min(values) < max(values) <= high
    left, right = ax.get_xlim()
    xs = [x for line in lines for x in artists.points(line)]
    assert left <= min(xs) < max(xs) <= right


@pytest.mark.parametrize("name", FIGURES)
def test_the_legend_tells_conditions_apart_as_they_are_drawn(drawn, whole, name):
    conditions = FIGURES[name]["legend"]
    legends = artists.legends(drawn(name))
    assert len(legends) == bool(conditions)
    for legend in legends:
        expected = []
        for condition in conditions:
            colour, dashes = look(whole, name, condition)
            expected.append((text(whole, name, condition), (colour, dashes)))
        assert artists.legend(legend) == expected
        assert len(set(expected)) == len(expected)


def of_kind(*kinds):
    return [param for param in PANELS if kind(FIGURES[param.values[0]][param.values[1]]) in kinds]


def kind(panel):
    return "band" if isinstance(panel.shows, tuple) else {RIDGES: RIDGES, STEP_SIZES: STEP_SIZES}.get(
        panel.shows, "curve"
    )  # fmt: skip


@pytest.mark.parametrize(("name", "place"), of_kind("curve"))
def test_curves_are_means_with_intervals_and_a_cross_at_divergence(drawn, whole, raw, numbers, name, place):
    panel, ax = FIGURES[name][place], artists.panels(drawn(name))[place]
    lines, intervals, looks, fills = [], [], [], []
    for condition in panel.conditions:
        found = numbers(condition, panel.shows, panel)
        lines.append({step: mean for step, (mean, _, _) in found.items()})
        intervals.append({step: (low, high) for step, (_, low, high) in found.items()})
        colour, dashes = look(whole, name, condition)
        looks.append((colour, dashes, "None"))
        fills.append((colour, 0.2))
        lost = [tables.DIVERGED.get((condition, seed), np.inf) for seed in tables.SEEDS]
        if panel.shows in COLUMNS["training"] and min(lost) < np.inf:
            step = max(step for step in found if step <= min(lost))
            lines.append({step: found[step][0]})
            looks.append((colour, "", "x"))
    shown = list(ax.lines)
    if panel.dashed_at is not None:
        reference = shown.pop()
        assert set(artists.points(reference).values()) == {panel.dashed_at}
        assert reference.get_linestyle() == "--"
        assert reference.get_transform() is not ax.transData
    assert [(*artists.look(line), line.get_marker()) for line in shown] == looks
    same([artists.points(line) for line in shown], lines)
    assert [artists.fill(band) for band in ax.collections] == fills
    same([artists.edges(band) for band in ax.collections], intervals)


@pytest.mark.parametrize(("name", "place"), of_kind("band"))
def test_bands_lie_between_the_means_of_their_two_quantities(drawn, whole, numbers, name, place):
    panel, ax = FIGURES[name][place], artists.panels(drawn(name))[place]
    lines, filled, looks, fills = [], [], [], []
    for condition in panel.conditions:
        colour, dashes = look(whole, name, condition)
        low, high = (numbers(condition, quantity, panel) for quantity in panel.shows)
        filled.append({step: (low[step][0], high[step][0]) for step in low})
        filled += [{step: of[step][1:] for step in of} for of in (low, high)]
        lines += [{step: of[step][0] for step in of} for of in (low, high)]
        looks += [(colour, dashes)] * 2
        fills += [(colour, 0.3), (colour, 0.12), (colour, 0.12)]
    assert [artists.look(line) for line in ax.lines] == looks
    same([artists.points(line) for line in ax.lines], lines)
    assert [artists.fill(band) for band in ax.collections] == fills
    same([artists.edges(band) for band in ax.collections], filled)


@pytest.mark.parametrize(("name", "place"), of_kind(RIDGES))
def test_ridges_are_the_densities_of_the_first_seed_at_the_first_site(drawn, whole, raw, name, place):
    panel, ax = FIGURES[name][place], artists.panels(drawn(name))[place]
    (condition,) = panel.conditions
    settings = whole["conditions"][condition]
    lost = tables.DIVERGED.get((condition, tables.SEEDS[0]), np.inf)
    steps = [step for step in tables.PROBED if step < lost]
    table = raw("activations", condition, tables.SEEDS[0])
    site = tables.SITES[settings["task"]][0]
    histograms = [by_hand.units_at(table, condition, panel.layer, site, step) for step in steps]
    reach = by_hand.reach([unit for units in histograms for unit in units])
    colour = RATES[condition][1][0] if name == "fig1" else look(whole, name, condition)[0]
    assert len(ax.lines) == len(steps)
    assert [artists.fill(band) for band in ax.collections] == [("#ffffff", 1), (colour, 0.35)] * len(steps)
    depths = []
    for base, line, units in zip(reversed(range(len(steps))), ax.lines, histograms, strict=True):
        curve = artists.points(line)
        assert artists.look(line) == (colour, None)
        assert [min(curve), max(curve)] == pytest.approx([-reach, reach])
        inside = {x: by_hand.density(units, x) for x in list(curve)[1:-1]}
        heights = {x: curve[x] - base for x in inside}
        scale = 2.5 / max(inside.values())
        assert list(heights.values()) == near([scale * value for value in inside.values()])
        depths.append(line.get_zorder())
    assert depths == sorted(depths)
    labels = dict(zip(ax.get_yticks().tolist(), (t.get_text() for t in ax.get_yticklabels()), strict=True))
    assert labels == {len(steps) - 1: str(steps[0]), 0: str(steps[-1])}


@pytest.mark.parametrize(("name", "place"), of_kind(STEP_SIZES))
def test_lines_over_step_sizes_are_one_per_step_from_dark_to_bright(drawn, whole, raw, name, place):
    panel, figure = FIGURES[name][place], drawn(name)
    ax = artists.panels(figure)[place]
    (condition,) = panel.conditions
    runs = [by_hand.records(raw("along_gradient", condition, seed)) for seed in tables.SEEDS]
    expected = []
    for step in tables.PROBED:
        by_eta = {}
        for eta in dict.fromkeys(row["eta"] for row in runs[0]):
            of_seeds = [{r["step"]: r["gradient_change"] for r in rows if r["eta"] == eta} for rows in runs]
            by_eta[eta] = by_hand.over_seeds(of_seeds, logarithmic=panel.scale == "log")[step][0]
        expected.append(by_eta)
    same([artists.points(line) for line in ax.lines], expected)
    assert {artists.look(line)[1] for line in ax.lines} == {None}
    for eye in artists.EYES:
        lightness = [artists.lab(artists.look(line)[0], eye)[0] for line in ax.lines]
        assert min(np.diff(lightness)) > 3
        assert max(lightness) < 85  # visible on white
    bars = [bar for bar in figure.axes if bar.get_label() == "<colorbar>"]
    assert len(bars) == len(artists.panels(figure))
    for bar in bars:
        assert (bar.get_ylabel(), *bar.get_ylim()) == ("Step", 0, tables.PROBED[-1])
        (shown,) = (drawn for drawn in bar.collections if drawn.get_array() is not None)
        ends = [artists.colour(shown.cmap(shown.norm(step))) for step in (0, tables.PROBED[-1])]
        assert ends == [artists.look(ax.lines[i])[0] for i in (0, -1)]
    # Nets of one task share their vertical axis, to be compared by eye.
    for other_place, other in artists.panels(figure).items():
        task = whole["conditions"][condition]["task"]
        (their,) = FIGURES[name][other_place].conditions
        assert (other.get_ylim() == ax.get_ylim()) == (whole["conditions"][their]["task"] == task)


@pytest.mark.parametrize("eye", artists.EYES)
@pytest.mark.parametrize("name", FIGURES)
def test_conditions_differ_in_their_lines_or_in_lightness_to_every_eye(drawn, name, eye):
    for legend in artists.legends(drawn(name)):
        looks = [look for _, look in artists.legend(legend)]
        for (one, dashes), (another, others) in itertools.combinations(looks, 2):
            apart = abs(artists.lab(one, eye)[0] - artists.lab(another, eye)[0])
            assert dashes != others or apart > 10


@pytest.mark.parametrize("name", [*FIGURES, "theorems"])
def test_a_figure_is_as_wide_as_the_text_of_the_report_and_its_text_is_at_least_seven_points(drawn, name):
    margin = float(re.search(r"a4paper,margin=([\d.]+)cm", REPORT.read_text(encoding="utf-8"))[1])
    figure = drawn(name)
    assert figure.get_figwidth() == pytest.approx((21 - 2 * margin) / 2.54, rel=0.002)
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
    assert len(sizes) > 5
    assert min(sizes) >= 7


@pytest.mark.parametrize("name", ["fig3", "fig5"])
def test_a_panel_has_the_letter_of_the_caption_even_alone(drawing, draw, drawn, name):
    over_seeds, first_seed, settings = drawing(name)
    shown = settings["conditions"].items()
    settings["conditions"] = {condition: of for condition, of in shown if of["task"] == "deep_linear"}
    alone = [ax.get_title() for ax in draw(name, over_seeds, first_seed, settings).axes]
    titles = [ax.get_title() for ax in drawn(name).axes]
    assert alone == titles[titles.index(alone[0]) :]
    assert alone[0].startswith("(b) Deep linear network")


def test_a_task_in_the_table_of_training_alone_has_its_training_in_figure_3(drawing, draw):
    over_seeds, first_seed, settings = drawing("fig3")
    del settings["layers"]["deep_linear"]
    titles = [ax.get_title() for ax in draw("fig3", over_seeds, first_seed, settings).axes]
    assert [title for title in titles if title.startswith("(")][-2:] == titles[-2:]
    assert titles[-1].startswith("(b) Deep linear network, lr ")


@pytest.mark.parametrize("name", ["fig3", "fig5"])
def test_a_task_of_ones_own_is_drawn_too(drawing, draw, drawn, name):
    """Under another name, the deep linear nets have the same panels, with that name and the next letter."""
    over_seeds, first_seed, settings = drawing(name)
    renamed = {"deep_linear": "my_net"}
    settings["conditions"] = {
        condition: of | {"task": renamed.get(of["task"], of["task"])}
        for condition, of in settings["conditions"].items()
    }
    if "layers" in settings:
        settings["layers"] = {renamed.get(task, task): of for task, of in settings["layers"].items()}
    own, known = (
        artists.panels(figure) for figure in (draw(name, over_seeds, first_seed, settings), drawn(name))
    )
    titles = {place: ax.get_title() for place, ax in known.items()}
    assert any("Deep linear network" in title for title in titles.values())
    assert {place: ax.get_title() for place, ax in own.items()} == {
        place: title.replace("(b) Deep linear network", "(c) My net") for place, title in titles.items()
    }
    for place, ax in own.items():
        assert len(ax.lines) == len(known[place].lines)
        for line, other in zip(ax.lines, known[place].lines, strict=True):
            assert np.array_equal(line.get_xydata(), other.get_xydata(), equal_nan=True)
