"""Summaries over steps, against obvious loops."""

import math
import statistics

import numpy as np
import pandas as pd
import pytest

from bnopt import summaries

INF, NAN = math.inf, math.nan


def series(values, steps=None):
    return pd.Series(list(values), index=range(len(values)) if steps is None else steps, dtype=float)


VALUES = [0.3, 5.0, 0.01, 2.0, 7.0, 1.0, 0.5]


def test_mean_geometric_mean_and_median():
    assert summaries.mean(series(VALUES)) == pytest.approx(math.fsum(VALUES) / 7)
    assert summaries.geometric_mean(series(VALUES)) == pytest.approx(math.prod(VALUES) ** (1 / 7))
    assert summaries.median(series(VALUES)) == statistics.median(VALUES) == 1.0
    assert summaries.median(series(VALUES[:-1])) == pytest.approx(1.5)


def test_first_is_the_value_of_the_first_step():
    assert summaries.first(series(VALUES, steps=range(0, 70, 10))) == VALUES[0]


def test_last_is_the_value_of_the_last_step():
    assert summaries.last(series(VALUES, steps=range(0, 70, 10))) == 0.5


def test_infinite_values_stay_infinite_but_in_the_median():
    values = series([1.0, INF, 2.0])
    assert summaries.mean(values) == summaries.geometric_mean(values) == INF
    assert summaries.median(values) == 2.0


def test_geometric_mean_of_a_zero_is_tiny_not_an_error():
    found = summaries.geometric_mean(series([0.0, 1.0]))
    assert 0 < found < 1e-150


@pytest.mark.parametrize(
    ("length", "counted"), [(1, 1), (9, 1), (20, 1), (31, 2), (40, 2), (49, 2), (71, 4), (100, 5), (500, 25)]
)
def test_final_is_the_mean_of_the_last_twentieth_and_at_least_of_one_step(length, counted):
    values = list(np.random.default_rng(length).normal(size=length))
    assert summaries.final(series(values)) == pytest.approx(math.fsum(values[-counted:]) / counted)


def test_every_summary_of_one_run_is_known_by_its_name():
    assert set(summaries.OF_ONE_RUN) == {"mean", "geometric_mean", "median", "first", "last", "final"}
    for name, function in summaries.OF_ONE_RUN.items():
        assert function.__name__ == name
        assert function(series([3.0])) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("length", "width"), [(1, 1), (29, 1), (31, 2), (71, 4), (100, 5), (129, 6), (500, 25)]
)
def test_smoothing_is_a_centred_mean_of_a_twentieth_of_the_run_shorter_at_its_ends(length, width):
    """An even window has one step more before its centre than after it."""
    values = list(np.random.default_rng(0).normal(size=length))
    found = summaries.smooth(series(values))
    assert len(found) == length
    for step in range(length):
        window = values[max(0, step - width // 2) : step + (width - 1) // 2 + 1]
        assert found[step] == pytest.approx(math.fsum(window) / len(window))


# -- equal loss -----------------------------------------------------------------------------------


def smoothed(loss):
    """Return the centred running mean over 5 % of the run, of the finite values."""
    window = max(1, round(len(loss) / 20))
    before = window // 2
    after = window - 1 - before
    found = []
    for step in range(len(loss)):
        seen = [loss[i] for i in range(step - before, step + after + 1) if 0 <= i < len(loss)]
        seen = [v for v in seen if math.isfinite(v)]
        found.append(math.fsum(seen) / len(seen) if seen else NAN)
    return found


def equal_loss_by_loop(values, losses):
    """Return the means of two runs per common bin, from two dicts step -> value and two lists of losses."""
    runs = []
    for of_run, loss in zip(values, losses, strict=True):
        smooth = smoothed(loss)
        runs.append([(smooth[s], v) for s, v in of_run.items() if not math.isnan(smooth[s] + v)])
    low = max(min(loss for loss, _ in run) for run in runs)
    high = min(max(loss for loss, _ in run) for run in runs)
    pairs = []
    for number in range(10):
        ratio = high / low
        start, end = low * ratio ** (number / 10), low * ratio ** ((number + 1) / 10)
        means = []
        for run in runs:
            inside = [
                v
                for loss, v in run
                if (
                    start < loss <= end
                    or (number == 0 and loss == low)
                    or (number == 9 and end < loss == high)
                )
            ]
            means.append(math.fsum(inside) / len(inside) if inside else None)
        if None not in means:
            pairs.append(means)
    return [a for a, _ in pairs], [b for _, b in pairs]


def loss_curve(start, rate, steps, seed):
    noise = np.random.default_rng(seed).normal(0, 0.05, size=steps)
    return [start * math.exp(-rate * step + noise[step]) for step in range(steps)]


@pytest.mark.parametrize("every", [1, 4, 10])
def test_equal_loss_compares_means_where_smoothed_losses_agree(every):
    steps = 200
    losses = [loss_curve(2.0, 0.010, steps, 1), loss_curve(3.0, 0.02, steps, 2)]
    random = np.random.default_rng(3)
    values = [{s: float(random.uniform(1, 2)) for s in range(0, steps, every)} for _ in range(2)]
    a, b = summaries.equal_loss(
        *(series(v.values(), v.keys()) for v in values),
        *(summaries.smooth(series([*loss, NAN])) for loss in losses),
    )
    expected = equal_loss_by_loop(values, [[*loss, NAN] for loss in losses])
    assert len(a) == len(b) == len(expected[0]) > 5
    assert a.tolist() == pytest.approx(expected[0])
    assert b.tolist() == pytest.approx(expected[1])


def test_equal_loss_compares_a_plateau_with_the_start_of_the_other_run_not_its_end():
    """A value that depends on the loss alone agrees in two runs that reach the losses at different steps."""
    steps = 400
    plateau = series([2.0 if s < 300 else 2.0 * math.exp(-0.03 * (s - 300)) for s in range(steps)])
    quick = series([2.0 * math.exp(-0.03 * min(s, 100)) for s in range(steps)])
    a, b = summaries.equal_loss(plateau**2, quick**2, *map(summaries.smooth, (plateau, quick)))
    assert abs(math.log((plateau**2).mean() / (quick**2).mean())) > 1
    assert np.abs(np.log(a[1:-1] / b[1:-1])).max() < 0.25


def test_equal_loss_of_runs_whose_losses_never_agree_is_empty():
    values = series([1.0] * 20)
    a, b = summaries.equal_loss(values, values, series(range(10, 30)), series(range(40, 60)))
    assert len(a) == len(b) == 0


@pytest.mark.parametrize(
    ("loss_a", "loss_b"),
    [
        ([2.0, 1.0, 0.0], [3.0, 0.5, 0.0]),
        ([1.0, 1.0, 1.0], [2.0, 1.0, 0.5]),
        ([2.0, 1.0, 0.5], [0.5, 0.25, 0.125]),
        ([1.0, INF, 2.0], [3.0, INF, 1.5]),
    ],
    ids=["both reach zero", "one is constant", "they share one loss", "both are infinite"],
)
def test_without_a_range_of_positive_finite_losses_equal_loss_is_empty(loss_a, loss_b):
    values = series([1.0, 2.0, 3.0])
    for losses in ((loss_a, loss_b), (loss_b, loss_a)):
        a, b = summaries.equal_loss(values, values, *map(series, losses))
        assert len(a) == len(b) == 0


def test_a_step_without_a_value_does_not_widen_the_range_of_equal_loss():
    values, losses = [1.0, 2.0, 4.0, 8.0], [2.0, 1.5, 1.2, 1.0]
    with_gap = summaries.equal_loss(
        *(series([*values, NAN]) for _ in range(2)), *(series([*losses, 0.01]) for _ in range(2))
    )
    without = summaries.equal_loss(*(series(values) for _ in range(2)), *(series(losses) for _ in range(2)))
    assert [a.tolist() for a in with_gap] == [a.tolist() for a in without] == [[8.0, 4.0, 2.0, 1.0]] * 2


def test_equal_loss_has_a_bin_for_the_least_range_and_only_bins_that_both_visit():
    a, b = summaries.equal_loss(
        series([1.0, 2.0, 4.0]), series([8.0, 32.0, 64.0]), series([2.0, 1.5, 1.0]), series([2.0, 1.01, 1.0])
    )
    # The first bin has the losses from 1 to 1.07, the last those from 1.87 to 2.
    assert a.tolist() == [4.0, 1.0]
    assert b.tolist() == [48.0, 8.0]


def test_equal_loss_leaves_out_infinite_losses_after_divergence():
    steps = 100
    loss = loss_curve(2.0, 0.02, steps, 1)
    values = {s: float(s) for s in range(0, steps, 2)}
    gone = [*loss[:60], *[INF] * 40]
    until = {s: v for s, v in values.items() if s < 60}
    a, b = summaries.equal_loss(
        series(until.values(), until.keys()),
        series(values.values(), values.keys()),
        summaries.smooth(series(gone)),
        summaries.smooth(series(loss)),
    )
    expected = equal_loss_by_loop([until, values], [gone, loss])
    assert len(a) == len(expected[0]) > 3
    assert a.tolist() == pytest.approx(expected[0])
    assert b.tolist() == pytest.approx(expected[1])
