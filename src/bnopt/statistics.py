"""Stage 4: one number per seed and step from the tables of all runs, and means with intervals over seeds."""

import numpy as np
import pandas as pd
from scipy import special

from bnopt import plugins, runtime
from bnopt.files import artefacts

KEYS = ["condition", "layer", "step"]
RUN_KEYS = ["condition", "seed", "layer", "step"]
# Largest number of points that a curve shows.
WINDOWS = 100
# Begins the name of a quantity's mean over all steps of a run, in the tables over seeds.
OVER_RUN = "over_run:"


def per_seed(tables, *, table):
    """Return the quantities of `table` for every run and step: condition, seed, layer, step, quantities.

    tables: the tables of all runs. `layer` is empty in tables without layers. A table that already has
    one row per run, layer and step needs no file in quantities/. Claims read this result; the docstring
    of each file in quantities/ lists columns that only readers of the tables use.
    """
    # If a run diverges at step 0, the table of its probe is empty and has no columns.
    tables = [of_run for of_run in tables if len(of_run)]
    if not tables:
        return pd.DataFrame(columns=RUN_KEYS)
    values = pd.concat(tables, ignore_index=True)
    if table in plugins.names("quantities"):
        values = plugins.load("quantities", table).per_step(values)
    if "layer" not in values:
        values.insert(2, "layer", "")
    return values.set_index(RUN_KEYS).sort_index().reset_index()


def over_seeds(values, *, confidence=0.95):
    """Return mean and interval over seeds of every quantity, condition, layer and window of steps.

    condition, layer, step, quantity    step: the middle of the window
    n                                   number of seeds; no figure, claim or report uses it: it is for
                                        readers of the tables
    mean, ci_low, ci_high               of the values
    geometric_mean, geometric_low,      of their logarithms, exponentiated: for logarithmic axes; NaN if a
    geometric_high                      value is not positive

    Intervals are Student's t intervals with n − 1 degrees of freedom; they are NaN if n < 2 or a value is
    not finite. A run that diverged is left out if another run of its condition goes further. Its
    accuracies are not left out: after divergence they are those of a random guess.
    """
    return _summary(_windowed(_without_stopped(values).dropna()), confidence)


def over_run(values, *, confidence=0.95):
    """Return rows like those of `over_seeds`, of every quantity's mean over all steps of a run.

    quantity    the name of the quantity after OVER_RUN
    step        the last one at which the quantity has a value

    Each run gives one number, its arithmetic mean over steps; mean and interval are over these numbers.
    Runs that stop are left out as in `over_seeds`.
    """
    long = _without_stopped(values).dropna()
    keys = ["quantity", "condition", "layer"]
    last = long.groupby(keys)["step"].max()
    of_runs = long.groupby([*keys, "seed"])["value"].mean().reset_index()
    rows = _summary(of_runs.join(last, on=keys), confidence)
    return rows.assign(quantity=OVER_RUN + rows["quantity"])


def _summary(long, confidence):
    """Return the columns of `over_seeds` from values in long form, one per seed."""
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithms = np.log(long["value"].where(long["value"] > 0))
    keys = ["quantity", *KEYS]
    plain = _mean_and_interval(long, confidence, keys)
    log = _mean_and_interval(long.assign(value=logarithms), confidence, keys)
    positive = long.assign(positive=logarithms.notna()).groupby(keys)["positive"].all()
    log = np.exp(log.where(positive))
    log.columns = ["geometric_mean", "geometric_low", "geometric_high"]
    summary = plain.join(log).assign(n=long.groupby(keys)["value"].count()).reset_index()
    return summary[[*KEYS, "quantity", "n", *plain.columns, *log.columns]]


def _without_stopped(values):
    """Return values in long form; of each condition only the runs whose values reach the last step."""
    long = values.melt(RUN_KEYS, var_name="quantity")
    if "diverged" in values:  # training curves, where an infinite loss marks a diverged run
        long = long[~np.isinf(long["value"])]
    last = long.groupby(["quantity", "condition", "seed"])["step"].transform("max")
    return long[last == long.groupby(["quantity", "condition"])["step"].transform("max")]


def _windowed(long):
    """Return each run's means over at most WINDOWS windows of steps; `step` is the middle of a window."""
    curves = ["quantity", "condition", "layer"]
    index = long.groupby(curves)["step"].rank("dense") - 1
    width = np.ceil((index.groupby([long[key] for key in curves]).transform("max") + 1) / WINDOWS)
    if (width <= 1).all():
        return long
    steps = long.assign(window=index // width).groupby([*curves, "window"])["step"]
    middle = (steps.transform("min") + steps.transform("max")) / 2
    return long.assign(step=middle).groupby([*curves, "seed", "step"])["value"].mean().reset_index()


def _mean_and_interval(long, confidence, keys):
    """Return mean, ci_low and ci_high of `value` per group of `keys`."""
    groups = long.groupby(keys)["value"]
    mean, n = groups.mean(), groups.count()
    with np.errstate(invalid="ignore"):
        half_width = groups.std() / np.sqrt(n) * special.stdtrit(n - 1, (1 + confidence) / 2)
    half_width = half_width.where(np.isfinite(half_width))
    return pd.DataFrame({"mean": mean, "ci_low": mean - half_width, "ci_high": mean + half_width})


def main(argv=None):
    """Summarise the tables of all runs from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--tables", required=True, help="tables of runs (.csv); see artefacts.read_runs")
    parser.add_argument("--per-seed", required=True, help="table to write (.csv)")
    parser.add_argument("--over-seeds", required=True, help="table to write (.csv)")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    settings = dict(job.settings)
    table = settings.pop("table")
    values = per_seed(artefacts.read_runs(options.tables, **settings), table=table)
    artefacts.write_table(values, options.per_seed, job=job)
    summary = pd.concat([over_seeds(values), over_run(values)], ignore_index=True)
    artefacts.write_table(summary, options.over_seeds, job=job)


if __name__ == "__main__":
    runtime.run(main)
