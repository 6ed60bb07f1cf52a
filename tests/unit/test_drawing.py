"""What figures share: that what is drawn are the numbers of the tables."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bnopt.figures import _drawing

INF, NAN = math.inf, math.nan
LINE = {"color": "#D55E00", "linestyle": "-"}


def over_seeds(numbers, *, condition="a", quantity="x", layer=""):
    """A table over seeds from step -> (mean, low, high), its rows out of order."""
    rows = [
        {
            "condition": condition,
            "layer": layer,
            "step": step,
            "quantity": quantity,
            "mean": mean,
            "ci_low": low,
            "ci_high": high,
            "geometric_mean": mean / 2,
            "geometric_low": low / 2,
            "geometric_high": high / 2,
            "n": 3,
        }
        for step, (mean, low, high) in reversed(numbers.items())
    ]
    return pd.DataFrame(rows)


def others():
    """Rows that a series of condition a, quantity x and no layer must not show."""
    wrong = {0: (99.0, 98.0, 100.0)}
    return [
        over_seeds(wrong, condition="b"),
        over_seeds(wrong, quantity="y"),
        over_seeds(wrong, layer="#2"),
    ]


NUMBERS = {step: (1.0 + step, 0.5 + step, 2.0 + step) for step in (0, 5, 10)}


def test_a_series_is_one_quantity_of_one_condition_and_layer_by_step():
    table = pd.concat([*others(), over_seeds(NUMBERS)])
    rows = _drawing.series(table, "a", "x")
    assert rows.index.tolist() == [0, 5, 10]
    assert rows[["mean", "ci_low", "ci_high"]].to_numpy().tolist() == [
        list(NUMBERS[step]) for step in (0, 5, 10)
    ]
    rows = _drawing.series(pd.concat([over_seeds(NUMBERS), *others()]), "a", "x", layer="#2")
    assert rows["mean"].tolist() == [99.0]


def test_infinite_values_are_gaps_in_a_series():
    rows = _drawing.series(over_seeds(NUMBERS | {7: (INF, NAN, NAN), 8: (-INF, 0.0, INF)}), "a", "x")
    assert rows["mean"].isna().tolist() == [False, False, True, True, False]


def edges_of(collection):
    """Return step -> (lowest, highest) of a filled band."""
    found = {}
    for path in collection.get_paths():
        for x, y in path.vertices:
            low, high = found.get(x, (INF, -INF))
            found[x] = (min(low, y), max(high, y))
    return found


def test_a_curve_is_the_mean_with_its_interval():
    ax = Figure().subplots()
    table = pd.concat([*others(), over_seeds(NUMBERS)])
    _drawing.curve(ax, table, "a", "x", factor=100, label="A", **LINE)
    (line,), (interval,) = ax.lines, ax.collections
    assert list(line.get_xdata()) == [0, 5, 10]
    assert list(line.get_ydata()) == [100, 600, 1100]
    assert line.get_label() == "A"
    assert edges_of(interval) == {
        step: (pytest.approx(100 * low), pytest.approx(100 * high))
        for step, (_, low, high) in NUMBERS.items()
    }


def test_a_curve_on_a_logarithmic_axis_is_the_geometric_mean_with_its_interval():
    ax = Figure().subplots()
    ax.set_yscale("log")
    _drawing.curve(ax, pd.concat([*others(), over_seeds(NUMBERS)]), "a", "x", label="A", **LINE)
    (line,), (interval,) = ax.lines, ax.collections
    assert list(line.get_ydata()) == [NUMBERS[step][0] / 2 for step in NUMBERS]
    assert edges_of(interval) == {step: (low / 2, high / 2) for step, (_, low, high) in NUMBERS.items()}


def test_a_band_lies_between_the_means_of_its_edges():
    ax = Figure().subplots()
    top = {step: (mean + 10, mean + 9, mean + 12) for step, (mean, _, _) in NUMBERS.items()}
    table = pd.concat([*others(), over_seeds(NUMBERS, quantity="low"), over_seeds(top, quantity="high")])
    _drawing.band(ax, table, "a", "low", "high", label="A", **LINE)
    filled, *intervals = ax.collections
    assert edges_of(filled) == {step: (NUMBERS[step][0], top[step][0]) for step in NUMBERS}
    assert [edges_of(interval) for interval in intervals] == [
        {step: numbers[step][1:] for step in numbers} for numbers in (NUMBERS, top)
    ]
    assert [list(line.get_ydata()) for line in ax.lines] == [
        [numbers[step][0] for step in numbers] for numbers in (NUMBERS, top)
    ]


# -- divergence -------------------------------------------------------------------------------------


def test_a_curve_of_one_point_is_visible():
    ax = Figure().subplots()
    _drawing.curve(ax, over_seeds({0: NUMBERS[0], 5: (INF, NAN, NAN)}), "a", "x", **LINE)
    _drawing.curve(ax, over_seeds(NUMBERS), "a", "x", **LINE)
    _drawing.band(ax, over_seeds({0: NUMBERS[0]}), "a", "x", "x", label="A", **LINE)
    assert [line.get_marker() for line in ax.lines] == [".", "None", ".", "."]


@pytest.mark.parametrize(
    ("lost", "left", "crossed"),
    [
        ({}, [0, 5, 10], []),
        # The others go on; within a window of steps it may be the first.
        ({10: 0.5}, [0, 5, 10], [10]),
        ({0: 0.1, 5: 0.5, 10: 0.5}, [0, 5, 10], [0]),
        # None goes on.
        ({5: 1.0, 10: 1.0}, [0], [0]),
    ],
)
def test_a_cross_is_where_the_first_run_diverges(lost, left, crossed):
    share = {step: (lost.get(step, 0.0), NAN, NAN) for step in NUMBERS}
    ax = Figure().subplots()
    numbers = {step: NUMBERS[step] for step in left}
    table = pd.concat([over_seeds(numbers), over_seeds(share, quantity="diverged")])
    _drawing.curve(ax, table, "a", "x", factor=100, **LINE)
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert [x for line in crosses for x in line.get_xdata()] == crossed
    assert [y for line in crosses for y in line.get_ydata()] == [100 * NUMBERS[x][0] for x in crossed]


def curves_of(first_lost, steps=4):
    """Training tables from (condition, seed) -> the first step that is lost, or None."""
    return pd.DataFrame(
        [
            {"condition": condition, "seed": seed, "step": step, "diverged": int(step >= first)}
            for (condition, seed), first in first_lost.items()
            for step in range(steps)
        ]
    )


def test_a_figure_says_what_diverged_and_which_panel_shows_nothing():
    figure = Figure()
    full, empty = figure.subplots(1, 2)
    full.plot([0, 1], [0, 1])
    empty.plot([0, 1], [NAN, INF])
    empty.axhline(1)
    lost = {("a", 0): 2, ("a", 1): 1, ("a", 2): 9, ("b", 0): 9, ("c", 0): 3}
    _drawing.say_what_diverged(figure, curves_of(lost))
    assert (
        figure.get_suptitle()
        == "Diverged: a (2 of 3 runs, seed 0, 1, from step 1), c (1 of 1 runs, from step 3)"
    )
    assert [[text.get_text() for text in ax.texts] for ax in (full, empty)] == [[], [_drawing.NOTHING]]


def test_the_note_explains_crosses_where_there_are_any():
    figure = Figure()
    figure.subplots().plot([0], [0], marker=_drawing.CROSS)
    _drawing.say_what_diverged(figure, curves_of({("a", 0): 2}))
    assert figure.get_suptitle() == "× Diverged: a (1 of 1 runs, from step 2)"


def test_a_figure_of_runs_that_all_went_on_says_nothing():
    figure = Figure()
    ax = figure.subplots()
    _drawing.say_what_diverged(figure, curves_of({("a", 0): 9}))
    assert figure.get_suptitle() == ""
    assert not ax.texts


# -- ridges -----------------------------------------------------------------------------------------


def histograms(steps, units=((-1.0, 1.0, [1, 0, 3, 4]), (0.0, 4.0, [2, 2, 0, 0]))):
    return pd.DataFrame(
        [
            {"step": step, "unit": unit, "low": low, "high": high}
            | {f"bin_{i}": count for i, count in enumerate(counts)}
            for step in steps
            for unit, (low, high, counts) in enumerate(units)
        ]
    )


def test_the_density_of_a_step_is_the_mean_of_its_units_histograms():
    x = np.array([-2.0, -0.9, -0.1, 0.3, 0.9, 1.5, 3.5])
    # Unit 0: bins of 0.5 from -1 with 1, 0, 3, 4 of 8 values; unit 1: bins of 1 from 0 with 2, 2 of 4.
    first = [0, 1 / 8 / 0.5, 0, 3 / 8 / 0.5, 4 / 8 / 0.5, 0, 0]
    second = [0, 0, 0, 2 / 4, 2 / 4, 2 / 4, 0]
    expected = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    assert _drawing._density(histograms([0]), x).tolist() == pytest.approx(expected)


def test_bins_are_read_in_the_order_of_their_numbers():
    counts = list(range(12))
    table = histograms([0], units=[(0.0, 12.0, counts)])
    assert _drawing._density(table, np.arange(12) + 0.5).tolist() == pytest.approx([c / 66 for c in counts])


def test_a_density_has_area_one():
    x = np.linspace(-5, 5, 20001)
    assert np.trapezoid(_drawing._density(histograms([0]), x), x) == pytest.approx(1, abs=1e-3)


def test_a_unit_without_a_histogram_adds_nothing():
    x = np.array([0.5])
    empty = (-INF, INF, [0, 0, 0, 0])
    alone = _drawing._density(histograms([0], units=[(0.0, 4.0, [2, 2, 0, 0])]), x)
    assert _drawing._density(histograms([0], units=[(0.0, 4.0, [2, 2, 0, 0]), empty]), x) == alone / 2


def test_ridges_stack_steps_with_the_first_at_the_back():
    ax = Figure().subplots()
    steps = [0, 10, 20, 30]
    _drawing.ridges(ax, histograms(steps[::-1]), **LINE)
    assert len(ax.lines) == 4
    bases = [float(np.min(line.get_ydata())) for line in ax.lines]
    assert bases == [3, 2, 1, 0]
    assert [line.get_zorder() for line in ax.lines] == sorted(line.get_zorder() for line in ax.lines)
    labels = dict(zip(ax.get_yticks(), [label.get_text() for label in ax.get_yticklabels()], strict=True))
    assert labels == {3: "0", 0: "30"}


def test_a_ridge_shows_all_but_the_farthest_of_its_values():
    """996 values lie in [0, 1], 4 in the bin from 9 to 10: more than half a percent would have to."""
    far = [(0.0, 10.0, [996, 0, 0, 0, 0, 0, 0, 0, 0, 4])]
    assert _drawing._reach(histograms([0], units=far)) == 1
    assert _drawing._reach(histograms([0], units=[(0.0, 10.0, [994, *[0] * 8, 6])])) == 10
    assert _drawing._reach(histograms([0], units=[(-10.0, 0.0, [6, *[0] * 8, 994])])) == 10
    assert _drawing._reach(histograms([0], units=[(-INF, INF, [0] * 4)])) == 1
    values = np.random.default_rng(0).standard_t(2, 10_000)
    counts, edges = np.histogram(values, bins=4000)
    table = histograms([0], units=[(edges[0], edges[-1], counts)])
    width = edges[1] - edges[0]
    assert _drawing._reach(table) == pytest.approx(np.quantile(np.abs(values), 0.995), abs=2 * width)


def test_many_steps_are_thinned_to_a_few_ridges_that_keep_the_first_and_last():
    ax = Figure().subplots()
    _drawing.ridges(ax, histograms(range(0, 1000, 10)), **LINE)
    assert len(ax.lines) == _drawing.RIDGES
    assert {label.get_text() for label in ax.get_yticklabels()} == {"0", "990"}


# -- axes and names -----------------------------------------------------------------------------------


def test_every_norm_of_the_study_has_a_look_and_a_name_of_its_own_unless_no_figure_shows_it(config):
    shown = {
        condition
        for figure in config["figures"].values()
        for conditions in figure["tables"].values()
        for condition in conditions
    }
    norms = sorted({config["conditions"][condition]["norm"] for condition in shown})
    looks = [str(_drawing.style({"norm": norm})) for norm in norms]
    names = [_drawing.label({"norm": norm}) for norm in norms]
    assert len(set(looks)) == len(set(names)) == len(norms)
    assert _drawing.label({"norm": "none"}) == "Standard"
    assert _drawing.label({"norm": "batch"}) == "Standard + BatchNorm"


def test_a_layer_that_stands_in_for_the_papers_says_so():
    assert _drawing.layer_title({"#11": 11}, "#11") == "Layer #11"
    assert _drawing.layer_title({"#11": 7}, "#11") == "Layer #11\n(here 7)"
