"""Mean and interval over seeds, against scipy called in a loop."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bnopt import statistics

INF, NAN = math.inf, math.nan


def values(numbers):
    """Return a table per seed from (condition, layer, step) -> quantity -> values of seeds 0, 1, ..."""
    rows = []
    for (condition, layer, step), quantities in numbers.items():
        for seed in range(max(map(len, quantities.values()))):
            rows.append(
                {
                    "condition": condition,
                    "seed": seed,
                    "layer": layer,
                    "step": step,
                    **{name: of[seed] if seed < len(of) else NAN for name, of in quantities.items()},
                }
            )
    return pd.DataFrame(rows)


GEOMETRIC = ["geometric_mean", "geometric_low", "geometric_high"]


def found(table, confidence=0.95):
    summary = statistics.over_seeds(table, confidence=confidence)
    keys = ["condition", "layer", "step", "quantity"]
    assert set(summary) == {*keys, "n", "mean", "ci_low", "ci_high", *GEOMETRIC}
    keys = [(r.condition, r.layer, r.step, r.quantity) for r in summary.itertuples()]
    assert len(keys) == len(set(keys))
    return {
        key: (r.mean, r.ci_low, r.ci_high, r.n) for key, r in zip(keys, summary.itertuples(), strict=True)
    }


random = np.random.default_rng(0)
NUMBERS = {
    (condition, layer, step): {name: random.normal(3, 2, size=5).tolist() for name in ("loss", "beta")}
    for condition in ("b", "a")
    for layer in ("#2", "")
    for step in (10, 0, 5)
}


@pytest.mark.parametrize("confidence", [0.95, 0.9])
def test_interval_is_students_t_over_seeds(confidence):
    summary = found(values(NUMBERS), confidence)
    assert len(summary) == 2 * len(NUMBERS)
    for (condition, layer, step), quantities in NUMBERS.items():
        for name, sample in quantities.items():
            mean, low, high, n = summary[condition, layer, step, name]
            expected = stats.t.interval(
                confidence, len(sample) - 1, loc=np.mean(sample), scale=np.std(sample, ddof=1) / math.sqrt(5)
            )
            assert n == 5
            assert mean == pytest.approx(math.fsum(sample) / 5)
            assert (low, high) == pytest.approx(expected)


def test_interval_by_hand():
    (only,) = found(values({("a", "", 0): {"x": [1.0, 2.0, 6.0]}})).values()
    # s² = (4 + 1 + 9) / 2 = 7; t of 2 degrees of freedom is 4.302653.
    half = 4.302652729911275 * math.sqrt(7 / 3)
    assert only == pytest.approx((3, 3 - half, 3 + half, 3))


@pytest.mark.parametrize("confidence", [0.95, 0.9])
def test_geometric_mean_and_interval_are_those_of_the_logarithms(confidence):
    positive = [math.exp(v) for v in (0.3, -2.0, 5.0, 1.0)]
    summary = statistics.over_seeds(values({("a", "", 0): {"x": positive}}), confidence=confidence)
    mean, low, high = summary[GEOMETRIC].iloc[0]
    logarithms = list(map(math.log, positive))
    expected = stats.t.interval(
        confidence, 3, loc=np.mean(logarithms), scale=np.std(logarithms, ddof=1) / math.sqrt(4)
    )
    assert mean == pytest.approx(math.prod(positive) ** (1 / 4))
    assert (low, high) == pytest.approx((math.exp(expected[0]), math.exp(expected[1])))


@pytest.mark.parametrize("sample", [[1.0, 0.0, 2.0], [1.0, -1.0, 2.0], [0.0, 0.0]])
def test_a_value_that_is_not_positive_leaves_no_geometric_mean(sample):
    summary = statistics.over_seeds(
        values({("a", "", 0): {"x": sample}, ("a", "", 1): {"x": [1.0, 4.0, 16.0]}})
    )
    at = summary.set_index("step")
    assert at.loc[0, GEOMETRIC].isna().all()
    assert at.loc[1, "geometric_mean"] == pytest.approx(4)
    assert at.loc[0, "mean"] == pytest.approx(math.fsum(sample) / len(sample))


def test_a_geometric_mean_with_an_infinite_value_is_infinite_and_has_no_interval():
    summary = statistics.over_seeds(values({("a", "", 0): {"x": [1.0, INF, 2.0]}}))
    assert summary["geometric_mean"].tolist() == [INF]
    assert summary[["geometric_low", "geometric_high"]].isna().all(axis=None)


def test_the_default_confidence_is_95_percent():
    assert statistics.over_seeds(values(NUMBERS)).equals(
        statistics.over_seeds(values(NUMBERS), confidence=0.95)
    )


def test_one_seed_has_a_mean_and_no_interval():
    (only,) = found(values({("a", "", 0): {"x": [1.5]}})).values()
    assert (only[0], only[3]) == (1.5, 1)
    assert math.isnan(only[1])
    assert math.isnan(only[2])


def test_missing_values_do_not_count():
    summary = found(
        values({("a", "", 0): {"x": [1.0, NAN, 3.0], "y": [1.0, 2.0, 3.0], "z": [NAN, NAN, NAN]}})
    )
    assert summary["a", "", 0, "x"][3] == 2
    assert summary["a", "", 0, "x"][0] == 2
    expected = stats.t.interval(0.95, 1, loc=2, scale=1)
    assert summary["a", "", 0, "x"][1:3] == pytest.approx(expected)
    assert summary["a", "", 0, "y"][3] == 3
    assert ("a", "", 0, "z") not in summary


@pytest.mark.parametrize("sample", [[1.0, INF, 2.0], [INF, INF, INF], [-INF, 1.0], [INF]])
def test_infinite_values_make_the_mean_infinite_and_the_interval_empty(sample):
    mean, low, high, n = found(values({("a", "", 0): {"x": sample}}))["a", "", 0, "x"]
    assert mean == math.fsum(sample)
    assert math.isnan(low)
    assert math.isnan(high)
    assert n == len(sample)


def test_an_interval_that_is_too_wide_for_a_number_is_missing():
    """Losses of a net that explodes may be this large; their squares are infinite."""
    summary = found(values({("a", "", 0): {"x": [1e200, 3e200]}}))
    mean, low, high, n = summary["a", "", 0, "x"]
    assert (mean, n) == (2e200, 2)
    assert math.isnan(low)
    assert math.isnan(high)


def test_infinite_values_do_not_touch_their_neighbours():
    table = values(NUMBERS | {("a", "", 99): {"loss": [INF, 1.0, 2.0, 3.0, 4.0], "beta": [1.0] * 5}})
    summary = found(table)
    assert summary["a", "", 99, "beta"] == (1, 1, 1, 5)
    assert {k: v for k, v in summary.items() if k[2] != 99} == found(values(NUMBERS))


# -- runs that stop, and long ones ------------------------------------------------------------------


def test_runs_that_stop_are_left_out_if_others_go_further():
    table = values({("a", "", step): {"x": [1.0, 2.0, 4.0]} for step in (0, 5, 10)})
    table = pd.concat([table, values({("b", "", step): {"x": [7.0, 8.0]} for step in (0, 5)})])
    table = table[(table["condition"] != "a") | (table["seed"] != 1) | (table["step"] < 5)]
    summary = found(table)
    assert [summary["a", "", step, "x"][::3] for step in (0, 5, 10)] == [(2.5, 2)] * 3
    assert [summary["b", "", step, "x"][::3] for step in (0, 5)] == [(7.5, 2)] * 2


def test_a_missing_value_at_the_end_is_no_stop():
    table = values({("a", "", 0): {"x": [1.0, 2.0]}, ("a", "", 5): {"x": [3.0, NAN]}})
    summary = found(table)
    assert summary["a", "", 0, "x"][::3] == (1.5, 2)
    assert summary["a", "", 5, "x"][::3] == (3, 1)


def test_of_a_diverged_run_accuracies_count_and_losses_do_not():
    lost = curve("a", 0, [0.3, 0.4]).assign(loss=[2.0, INF, INF], diverged=[0, 1, 1])
    tables = [lost, curve("a", 1, [0.5, 0.8])]
    summary = found(statistics.per_seed(tables, table="training"))
    assert [summary["a", "", step, "loss"][::3] for step in (0, 1)] == [(2, 1), (1, 1)]
    # In row 1 the accuracy of the lost run is chance.
    assert summary["a", "", 1, "accuracy"][::3] == (pytest.approx((0.1 + 0.8) / 2), 2)
    assert summary["a", "", 1, "diverged"][::3] == (0.5, 2)


def test_where_all_diverge_the_curve_is_that_of_the_run_that_went_furthest():
    tables = [
        curve("a", 0, [0.3, 0.4]).assign(loss=[2.0, INF, INF], diverged=[0, 1, 1]),
        curve("a", 1, [0.5, 0.8]).assign(loss=[4.0, 3.0, INF], diverged=[0, 0, 1]),
    ]
    summary = found(statistics.per_seed(tables, table="training"))
    assert [summary["a", "", step, "loss"][::3] for step in (0, 1)] == [(4, 1), (3, 1)]
    assert ("a", "", 2, "loss") not in summary


@pytest.mark.parametrize("length", [1, 99, 100, 101, 250, 501])
def test_long_curves_are_first_averaged_over_windows_of_steps(length):
    draw = np.random.default_rng(0).lognormal(size=(length, 3))
    table = values({("a", "", 3 * i): {"x": draw[i].tolist()} for i in range(length)})
    other = values({("b", "#2", 0): {"x": [1.0, 2.0, 3.0]}})
    summary = found(pd.concat([table, other]))
    assert summary.pop(("b", "#2", 0, "x"))[0] == 2
    width = math.ceil(length / statistics.WINDOWS)
    windows = [range(start, min(start + width, length)) for start in range(0, length, width)]
    assert len(summary) == len(windows) <= statistics.WINDOWS == 100
    for window in windows:
        step = 3 * (window[0] + window[-1]) / 2
        of_seeds = [sum(draw[i][seed] for i in window) / len(window) for seed in range(3)]
        expected = stats.t.interval(0.95, 2, loc=np.mean(of_seeds), scale=np.std(of_seeds, ddof=1) / 3**0.5)
        mean, low, high, n = summary["a", "", step, "x"]
        assert n == 3
        assert mean == pytest.approx(sum(of_seeds) / 3)
        assert (low, high) == pytest.approx(expected)


def windows_by_loop(table):
    """Return (condition, layer, middle of the window, quantity) -> mean over seeds of means over the window.

    A curve is one quantity of one condition and layer; its windows hold equally many of its own steps.
    """
    points = {}
    for row in table.to_dict("records"):
        for name in ("x", "y"):
            if not math.isnan(row[name]):
                curve = points.setdefault((row["condition"], row["layer"], name), {})
                curve.setdefault(row["step"], {})[row["seed"]] = row[name]
    expected = {}
    for (condition, layer, name), curve in points.items():
        steps = sorted(curve)
        width = math.ceil(len(steps) / 100)
        for start in range(0, len(steps), width):
            window = steps[start : start + width]
            of_seeds = {}
            for step in window:
                for seed, value in curve[step].items():
                    of_seeds.setdefault(seed, []).append(value)
            means = [math.fsum(of_seed) / len(of_seed) for of_seed in of_seeds.values()]
            middle = (window[0] + window[-1]) / 2
            expected[condition, layer, middle, name] = (math.fsum(means) / len(means), len(means))
    return expected


def test_each_curve_has_windows_of_its_own_steps_at_their_middle():
    """Steps are not evenly spaced, differ between curves, and some seeds lack some of them."""
    draw = np.random.default_rng(3)
    numbers = {}
    for condition, layer, last in (("a", "#1", 2000), ("a", "#2", 900), ("b", "", 700), ("c", "", 40)):
        steps = sorted({0, last, *draw.integers(1, last, size=last // 4).tolist()})
        for step in steps:
            x = [NAN if draw.random() < 0.2 and step < last else draw.normal() for _ in range(3)]
            y = draw.normal(size=3).tolist() if step % 3 == 0 or step == last else [NAN] * 3
            numbers[condition, layer, step] = {"x": x, "y": y}
    table = values(numbers)
    # Every run reaches the last step of its condition, so none is left out.
    summary, expected = found(table), windows_by_loop(table)
    assert summary.keys() == expected.keys()
    for key, (mean, n) in expected.items():
        assert summary[key][::3] == (pytest.approx(mean), n), key


def test_an_infinite_value_makes_its_window_infinite():
    table = values({("a", "", i): {"x": [INF if i == 5 else 1.0, 2.0]} for i in range(200)})
    summary = found(table)
    assert summary["a", "", 4.5, "x"][0] == INF
    assert sum(mean == INF for mean, *_ in summary.values()) == 1


# -- means over the run -----------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.95, 0.9])
def test_over_run_summarises_one_mean_over_steps_per_seed(confidence):
    draw = np.random.default_rng(1).lognormal(size=(2, 150, 3))
    steps = {i: (3 * i, draw[:, i]) for i in range(150)}
    table = values({("a", "", s): {"x": x.tolist(), "y": y.tolist()} for s, (x, y) in steps.values()})
    other = values({("b", "#2", 7): {"x": [1.0, 2.0, 6.0]}, ("b", "#2", 9): {"x": [NAN, 4.0, 8.0]}})
    summary = statistics.over_run(pd.concat([table, other]), confidence=confidence)
    assert list(summary) == list(statistics.over_seeds(other))
    rows = {(r.condition, r.layer, r.quantity): r for r in summary.itertuples()}
    assert set(rows) == {("a", "", "over_run:x"), ("a", "", "over_run:y"), ("b", "#2", "over_run:x")}
    for number, name in enumerate("xy"):
        row = rows["a", "", f"over_run:{name}"]
        means = [math.fsum(draw[number, i, seed] for i in range(150)) / 150 for seed in range(3)]
        half = stats.sem(means) * stats.t.ppf((1 + confidence) / 2, 2)
        assert (row.step, row.n) == (3 * 149, 3)
        assert row.mean == pytest.approx(math.fsum(means) / 3)
        assert (row.ci_low, row.ci_high) == pytest.approx((row.mean - half, row.mean + half))
        assert row.geometric_mean == pytest.approx(math.prod(means) ** (1 / 3))
    # A missing value does not count: the runs' means are 1, (2 + 4)/2 and (6 + 8)/2.
    assert rows["b", "#2", "over_run:x"].mean == pytest.approx((1 + 3 + 7) / 3)
    assert rows["b", "#2", "over_run:x"].n == 3


def test_over_run_leaves_out_runs_that_stop_and_keeps_infinite_values():
    table = values({("a", "", 0): {"x": [1.0, 2.0, 3.0]}, ("a", "", 5): {"x": [5.0, INF, 5.0]}})
    table = table[(table["seed"] != 2) | (table["step"] == 0)]
    (row,) = statistics.over_run(table).itertuples()
    assert (row.mean, row.geometric_mean, row.n) == (INF, INF, 2)
    assert math.isnan(row.ci_low)


def test_over_run_of_runs_that_diverged_at_once_is_empty():
    empty = statistics.per_seed([], table="along_gradient")
    assert list(statistics.over_run(empty)) == list(statistics.over_seeds(values(NUMBERS)))
    assert statistics.over_run(empty).empty


# -- per seed -------------------------------------------------------------------------------------


def curve(condition, seed, accuracy):
    return pd.DataFrame(
        {
            "condition": condition,
            "seed": seed,
            "step": [0, 1, 2],
            "loss": [2.0, 1.0, NAN],
            "accuracy": [*accuracy, NAN],
            "test_accuracy": [0.1, NAN, 0.2],
            "chance": 0.1,
            "diverged": 0,
        }
    )


def test_per_seed_stacks_the_runs_and_gives_tables_without_layers_an_empty_one():
    tables = [curve("b", 1, [0.3, 0.4]), curve("a", 10, [0.7, 0.8]), curve("a", 2, [0.5, 0.6])]
    table = statistics.per_seed(tables, table="training")
    assert list(table)[:4] == ["condition", "seed", "layer", "step"]
    assert (table["layer"] == "").all()
    runs = table.groupby(["condition", "seed"], sort=False)["accuracy"].apply(list)
    assert list(runs.index) == [("a", 2), ("a", 10), ("b", 1)]
    for key, expected in {("a", 2): [0.5, 0.6], ("a", 10): [0.7, 0.8], ("b", 1): [0.3, 0.4]}.items():
        assert runs[key][:2] == expected
    assert table["step"].tolist() == [0, 1, 2] * 3


def test_per_seed_does_not_depend_on_the_order_of_the_runs():
    tables = [curve("b", 1, [0.3, 0.4]), curve("a", 10, [0.7, 0.8]), curve("a", 2, [0.5, 0.6])]
    first = statistics.per_seed(tables, table="training")
    pd.testing.assert_frame_equal(statistics.per_seed(tables[::-1], table="training"), first)


def test_a_run_whose_table_is_empty_has_no_rows_and_all_empty_tables_still_have_keys():
    """A run that diverges at step 0 has a table without columns."""
    curves = [curve("b", 1, [0.3, 0.4]), curve("a", 2, [0.5, 0.6])]
    alone = statistics.per_seed(curves, table="training")
    with_empty = statistics.per_seed([pd.DataFrame(), *curves, pd.DataFrame()], table="training")
    pd.testing.assert_frame_equal(with_empty, alone)
    nothing = statistics.per_seed([pd.DataFrame(), pd.DataFrame()], table="training")
    assert list(nothing) == ["condition", "seed", "layer", "step"]
    assert len(nothing) == 0


def test_from_runs_to_statistics_a_step_has_the_seeds_that_have_it():
    tables = [curve("a", 0, [0.3, 0.4]), curve("a", 1, [0.5, 0.8])]
    summary = found(statistics.per_seed(tables, table="training"))
    assert summary["a", "", 1, "accuracy"][0] == pytest.approx(0.6)
    assert ("a", "", 2, "accuracy") not in summary
    assert ("a", "", 1, "test_accuracy") not in summary
    assert summary["a", "", 2, "test_accuracy"][::3] == (0.2, 2)
