"""Summaries over steps: they reduce the values of a quantity at every step to one number per run.

The first six summaries use one run alone. `equal_loss` compares two runs at steps at which their training
losses agree; so it does not compare a net on a plateau with one that has converged.
"""

import numpy as np
import pandas as pd

FINAL_FRACTION = 0.05
SMOOTHING_FRACTION = 0.05
LOSS_BINS = 10


def mean(values):
    """Return the arithmetic mean over steps."""
    return values.mean()


def geometric_mean(values):
    """Return the geometric mean over steps of positive values; 0 counts as the smallest positive float."""
    return float(np.exp(np.log(values.clip(lower=np.finfo(float).tiny)).mean()))


def median(values):
    """Return the median over steps."""
    return values.median()


def first(values):
    """Return the value at the first step that has one."""
    return values.iloc[0]


def last(values):
    """Return the value at the last step that has one."""
    return values.iloc[-1]


def final(values):
    """Return the mean over the last 5 % of steps."""
    return values.iloc[-max(1, round(FINAL_FRACTION * len(values))) :].mean()


OF_ONE_RUN = {f.__name__: f for f in (mean, geometric_mean, median, first, last, final)}


def equal_loss(values_a, values_b, loss_a, loss_b):
    """Return two arrays, one per run: mean values over steps at which the training losses agree.

    values_*: values at the probed steps; loss_*: training loss at every step, smoothed (`smooth`).

    The range of losses that both runs visit is divided into ten bins of equal width in log loss. The
    arrays hold the mean values of each run in every bin that both runs visit. They are empty if the
    losses share no such range.
    """
    runs = [
        pd.DataFrame({"value": values, "loss": loss.reindex(values.index)}).dropna()
        for values, loss in ((values_a, loss_a), (values_b, loss_b))
    ]
    low = max(run["loss"].min() for run in runs)
    high = min(run["loss"].max() for run in runs)
    if not 0 < low < high < np.inf:
        return np.array([]), np.array([])
    edges = np.geomspace(low, high, LOSS_BINS + 1)
    edges[[0, -1]] = low, high
    bins = [pd.cut(run["loss"], edges, include_lowest=True, labels=False) for run in runs]
    means = [run["value"].groupby(of_run).mean().dropna() for run, of_run in zip(runs, bins, strict=True)]
    common = means[0].index.intersection(means[1].index)
    return means[0][common].to_numpy(), means[1][common].to_numpy()


def smooth(curve):
    """Return the running mean of one or more curves over a centred window of 5 % of the run."""
    window = max(1, round(SMOOTHING_FRACTION * len(curve)))
    return curve.rolling(window, center=True, min_periods=1).mean()
