"""The numbers of figures, computed from raw tables one by one: slow, and by another way than the stages."""

import math

import numpy as np
import scipy.stats

from figures.tables import CHANCE, SITES


def records(table):
    """Return the rows of a table as dicts."""
    return table.to_dict("records")


# -- one number per run and step -------------------------------------------------------------------


def of_run(raw, quantity, task, layer=""):
    """Return step -> the quantity's value in one run; raw: table -> raw table of the run."""
    if quantity in ("loss", "accuracy", "test_accuracy", "diverged"):
        return _training(records(raw["training"]), quantity, CHANCE[task])
    if quantity in ("difference", "cosine"):
        return {r["step"]: r[quantity] for r in records(raw["covariate_shift"]) if r["layer"] == layer}
    if quantity.partition("_")[0] in ("mean", "variance"):
        return _moments(records(raw["activations"]), *quantity.split("_"), SITES[task][0], layer)
    return _along_gradient(records(raw["along_gradient"]), quantity)


def _training(rows, quantity, chance):
    """Return a column of a training table; a net that has diverged guesses."""
    tested = [row["step"] for row in rows if row["step"] % 4 == 0]
    values = {}
    for row in rows:
        value = row[quantity]
        lost_accuracy = quantity == "accuracy" and row["step"] < rows[-1]["step"]
        lost_test = quantity == "test_accuracy" and row["step"] in tested
        if row["diverged"] and (lost_accuracy or lost_test):
            value = chance
        if not math.isnan(value):
            values[row["step"]] = value
    return values


def _moments(rows, moment, kind, site, layer):
    """Return the mean over units of |Δm| or m_t − m_0."""
    rows = [row for row in rows if row["layer"] == layer and row["site"] == site]
    values = {}
    for step in {row["step"] for row in rows}:
        of_units = []
        for row in rows:
            if row["step"] == step:
                (start,) = (r for r in rows if r["step"] == 0 and r["unit"] == row["unit"])
                change, drift = abs(row[f"{moment}_next"] - row[moment]), row[moment] - start[moment]
                of_units.append(change if kind == "change" else drift)
        values[step] = sum(of_units) / len(of_units)
    return values


def _along_gradient(rows, quantity):
    """Return an extremum over the step sizes η."""
    values = {}
    for step in {row["step"] for row in rows}:
        of_step = [row for row in rows if row["step"] == step]
        losses, changes = ([row[key] for row in of_step] for key in ("loss", "gradient_change"))
        values[step] = {
            "loss_min": min(losses),
            "loss_max": max(losses),
            "loss_variation": max(losses) - min(losses),
            "predictiveness_min": min(changes),
            "predictiveness": max(changes),
            "beta": max(r["gradient_change"] / r["eta"] / r["gradient_length"] for r in of_step),
        }[quantity]
    return values


# -- over seeds ------------------------------------------------------------------------------------


def over_seeds(runs, *, logarithmic=False):
    """Return step -> (mean, low, high) of runs, each step -> value: Student's 95 % interval.

    Runs that end before others do not count. On a logarithmic axis all three are geometric.
    """
    finite = [{step: value for step, value in run.items() if math.isfinite(value)} for run in runs]
    last = max(max(run) for run in finite)
    finite = [run for run in finite if max(run) == last]
    found = {}
    for step in sorted(finite[0]):
        values = [math.log(run[step]) if logarithmic else run[step] for run in finite]
        mean = sum(values) / len(values)
        if len(set(values)) == 1:
            low, high = mean, mean
        else:
            error = scipy.stats.sem(values)
            low, high = scipy.stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error)
        found[step] = tuple(math.exp(x) if logarithmic else x for x in (mean, low, high))
    return found


# -- histograms ------------------------------------------------------------------------------------


def density(units, x):
    """Return the mean over units (low, high, counts) of their histograms' densities at x."""
    total = 0.0
    for low, high, counts in units:
        width = (high - low) / len(counts)
        for i, count in enumerate(counts):
            if low + i * width <= x < low + (i + 1) * width:
                total += count / sum(counts) / width
    return total / len(units)


def reach(units):
    """Return the smallest distance from 0, among outer edges of bins, within which 99.5 % of values lie."""
    outer = []
    for low, high, counts in units:
        width = (high - low) / len(counts)
        outer += [
            (max(abs(low + i * width), abs(low + (i + 1) * width)), count) for i, count in enumerate(counts)
        ]
    seen, everything = 0, sum(count for _, count in outer)
    for edge, count in sorted(outer):
        seen += count
        if count and seen >= 0.995 * everything:
            return edge
    raise AssertionError("no value")


def units_at(activations, condition, layer, site, step):
    """Return (low, high, counts) of the units of a layer at one step."""
    return [
        (row["low"], row["high"], [row[f"bin_{i}"] for i in range(sum(k.startswith("bin_") for k in row))])
        for row in records(activations)
        if (row["condition"], row["layer"], row["site"], row["step"]) == (condition, layer, site, step)
    ]


def cumulative(values):
    """Return (x, share of the values that are at most x) for every x among them, in order."""
    values = [value for value in np.asarray(values, dtype=float).ravel() if not math.isnan(value)]
    return [(x, sum(value <= x for value in values) / len(values)) for x in sorted(values)]
