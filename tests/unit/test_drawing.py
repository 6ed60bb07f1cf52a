"""The drawing functions that figures share: they draw the numbers of the tables."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bnopt.figures import _drawing

INF, NAN = math.inf, math.nan
LINE = {"color": "#D55E00", "linestyle": "-"}


def over_seeds(numbers, *, condition="a", quantity="x", layer=""):
    """Return a table over seeds from step -> (mean, low, high), with its rows out of order."""
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


def other_rows():
    """Return rows that a series of condition a, quantity x and no layer must leave out."""
    wrong = {0: (99.0, 98.0, 100.0)}
    return [
        over_seeds(wrong, condition="b"),
        over_seeds(wrong, quantity="y"),
        over_seeds(wrong, layer="#2"),
    ]


NUMBERS = {step: (1.0 + step, 0.5 + step, 2.0 + step) for step in (0, 5, 10)}


def test_a_series_is_one_quantity_of_one_condition_and_layer_by_step():
    table = pd.concat([*other_rows(), over_seeds(NUMBERS)])
    rows = _drawing.series(table, "a", "x")
    assert rows.index.tolist() == [0, 5, 10]
    assert rows[["mean", "ci_low", "ci_high"]].to_numpy().tolist() == [
        list(NUMBERS[step]) for step in (0, 5, 10)
    ]
    rows = _drawing.series(pd.concat([over_seeds(NUMBERS), *other_rows()]), "a", "x", layer="#2")
    assert rows["mean"].tolist() == [99.0]


def test_infinite_values_are_gaps_in_a_series():
    rows = _drawing.series(over_seeds(NUMBERS | {7: (INF, NAN, NAN), 8: (-INF, 0.0, INF)}), "a", "x")
    assert rows["mean"].isna().tolist() == [False, False, True, True, False]


def edges_of(collection):
    """Return step -> (lowest, highest) value of a filled band."""
    found = {}
    for path in collection.get_paths():
        for x, y in path.vertices:
            low, high = found.get(x, (INF, -INF))
            found[x] = (min(low, y), max(high, y))
    return found


def test_a_curve_is_the_mean_with_its_interval():
    ax = Figure().subplots()
    table = pd.concat([*other_rows(), over_seeds(NUMBERS)])
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
    _drawing.curve(ax, pd.concat([*other_rows(), over_seeds(NUMBERS)]), "a", "x", label="A", **LINE)
    (line,), (interval,) = ax.lines, ax.collections
    assert list(line.get_ydata()) == [NUMBERS[step][0] / 2 for step in NUMBERS]
    assert edges_of(interval) == {step: (low / 2, high / 2) for step, (_, low, high) in NUMBERS.items()}


def test_a_band_lies_between_the_means_of_its_edges():
    ax = Figure().subplots()
    top = {step: (mean + 10, mean + 9, mean + 12) for step, (mean, _, _) in NUMBERS.items()}
    table = pd.concat([*other_rows(), over_seeds(NUMBERS, quantity="low"), over_seeds(top, quantity="high")])
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
        # Other runs continue. If steps are averaged over windows, even the first may have a diverged run.
        ({10: 0.5}, [0, 5, 10], [10]),
        ({0: 0.1, 5: 0.5, 10: 0.5}, [0, 5, 10], [0]),
        # No run continues.
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


# -- ridges -----------------------------------------------------------------------------------------


def histograms(steps, units=((-1.0, 1.0, [1, 0, 3, 4]), (0.0, 4.0, [2, 2, 0, 0]))):
    """Return the same histograms, low, high and counts of each unit, at every step."""
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
    # Unit 0 has bins of width 0.5 from -1, with 1, 0, 3, 4 of 8 values. Unit 1 has bins of width 1 from 0,
    # with 2, 2, 0, 0 of 4 values.
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
    """A bin from 9 to 10 is left out with 4 of 1,000 values, but not with more than half a percent."""
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


def test_many_steps_are_thinned_to_a_few_ridges_with_the_first_and_last_among_them():
    ax = Figure().subplots()
    _drawing.ridges(ax, histograms(range(0, 1000, 10)), **LINE)
    assert len(ax.lines) == _drawing.RIDGES
    assert {label.get_text() for label in ax.get_yticklabels()} == {"0", "990"}


# -- axes and names -----------------------------------------------------------------------------------


def test_every_norm_that_a_figure_shows_has_a_style_and_a_label_of_its_own(config):
    shown = {
        condition
        for figure in config["figures"].values()
        for conditions in figure["tables"].values()
        for condition in conditions
    }
    norms = sorted({config["conditions"][condition]["norm"] for condition in shown})
    styles = [str(_drawing.style({"norm": norm})) for norm in norms]
    labels = [_drawing.label({"norm": norm}) for norm in norms]
    assert len(set(styles)) == len(set(labels)) == len(norms)
    assert _drawing.label({"norm": "none"}) == "Standard"
    assert _drawing.label({"norm": "batch"}) == "Standard + BatchNorm"


def test_the_title_of_a_layer_has_its_number_in_this_net_if_it_differs():
    assert _drawing.layer_title({"#11": 11}, "#11") == "Layer #11"
    assert _drawing.layer_title({"#11": 7}, "#11") == "Layer #11\n(here 7)"
