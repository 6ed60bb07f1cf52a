"""From a quantity at every step of a run to one number per run: what "over the run" can mean.

The first five summarise a run by itself. `equal_loss` compares two runs where their training losses
agree, so that a net stuck on a plateau is not set against one that has converged.
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
    """Return the geometric mean over steps, of positive values."""
    return float(np.exp(np.log(values.clip(lower=np.finfo(float).tiny)).mean()))


def median(values):
    """Return the median over steps."""
    return values.median()


def last(values):
    """Return the value at the last step that has one."""
    return values.iloc[-1]


def final(values):
    """Return the mean over the last 5 % of steps."""
    return values.iloc[-max(1, round(FINAL_FRACTION * len(values))) :].mean()


OF_ONE_RUN = {f.__name__: f for f in (mean, geometric_mean, median, last, final)}


def equal_loss(values_a, values_b, loss_a, loss_b):
    """Return the means of two runs' values over steps at which their training losses agree.

    values_*: at probed steps; loss_*: training loss at every step, smoothed here over 5 % of the run.
    The range of losses that both runs visit is cut into ten bins, equal in log loss; a run's mean in
    a bin counts if the other run visits it too. Returns a pair of arrays, a value per common bin.
    """
    runs = [
        pd.DataFrame({"value": values, "loss": smooth(loss).reindex(values.index)}).dropna()
        for values, loss in ((values_a, loss_a), (values_b, loss_b))
    ]
    low = max(run["loss"].min() for run in runs)
    high = min(run["loss"].max() for run in runs)
    if not 0 < low < high < np.inf:
        return np.array([]), np.array([])
    edges = np.geomspace(low, high, LOSS_BINS + 1)
    edges[[0, -1]] = low, high
    means = [
        run.groupby(pd.cut(run["loss"], edges, include_lowest=True), observed=False)["value"].mean()
        for run in runs
    ]
    common = means[0].notna() & means[1].notna()
    return means[0][common].to_numpy(), means[1][common].to_numpy()


def smooth(curve):
    """Return a curve's running mean over a centred window of 5 % of the run."""
    window = max(1, round(SMOOTHING_FRACTION * len(curve)))
    return curve.rolling(window, center=True, min_periods=1).mean()
