"""Effects of a claim: one number per seed, from the values of two runs by step.

The stages `claims` and `specifications` use the same effects.
"""

import copy
import itertools

import numpy as np
import pandas as pd

from bnopt import summaries, verdicts
from bnopt.runtime import StudyError

CHANCE = "chance"
WHOLE_RUN = "whole_run"
TRAINING = "training"
# The number of a diverged run, whatever was recorded before it diverged: the worst possible value, the
# largest of a size and the lowest of a cosine. So sizes are compared by log ratio. Only the first value
# counts as it is, since what a net is before training does not depend on what follows. A comparison at
# equal loss uses the steps before the divergence, if there are any: it compares losses that both runs visit.
WORST = {"log_ratio": np.inf, "difference": -np.inf}


class Runs:
    """The tables by run: each is split once, and a mean is taken once, for all claims that use it.

    rows        table -> run -> its rows; a run is (condition, seed)
    smoothed    run -> its loss and accuracy by step, smoothed (`summaries.smooth`)
    diverged    the runs that have diverged
    """

    def __init__(self, tables):
        self.rows = {name: _by_run(of) for name, of in tables.items()}
        curves = self.rows[TRAINING]
        self.smoothed = {
            run: summaries.smooth(curve.set_index("step")[["loss", "accuracy"]])
            for run, curve in curves.items()
        }
        self.diverged = {run for run, curve in curves.items() if curve["diverged"].any()}
        self._empty = {name: of.iloc[:0] for name, of in tables.items()}
        self._means = {}

    def with_table(self, name, table):
        """Return the same runs with another form of one table."""
        runs = copy.copy(self)
        runs.rows = self.rows | {name: _by_run(table)}
        runs._empty = self._empty | {name: table.iloc[:0]}
        runs._means = {}
        return runs

    def rows_of(self, run, table, layers):
        """Return the rows of a run in these layers, or in all if `layers` is empty."""
        rows = self.rows[table].get(run, self._empty[table])
        return rows[rows["layer"].isin(layers)] if layers else rows

    def values(self, run, quantity, layers):
        """Return the columns of a quantity by step (`_by_step`) of a run in these layers.

        With `times`, they are multiplied by that column of another table, step by step.
        """
        key = (run, quantity["table"], quantity["column"], *layers)
        if key not in self._means:
            self._means[key] = _by_step(self.rows_of(run, quantity["table"], layers), quantity["column"])
        values = self._means[key]
        if "times" not in quantity:
            return values
        column = quantity["times"]["column"]
        factor = self.values(run, quantity["times"], layers=())
        # The factor has no columns if every run diverged at step 0.
        return values.mul(factor.reindex(columns=[column])[column], axis="index").dropna()


def _by_run(table):
    """Return run -> its rows."""
    return dict(list(table.groupby(["condition", "seed"])))


def pairs(runs, claim, quantity):
    """Return what effects are computed from, for each seed that both conditions have.

    A seed counts if each of its two runs has values or has diverged.

    values      of both sides, by step
    constant    chance or the number in place of condition_b; None if that is a condition
    counted     those before either run reaches the quantity's `until_accuracy`, within its `steps`
    curves      smoothed training curves of both sides; that of the one run, twice, if the other side is no
                condition
    diverged    whether each run has diverged
    lost        the conditions of diverged runs (`_lost`), one name per run
    """
    a, b = claim["condition_a"], claim["condition_b"]
    alone = b == CHANCE or not isinstance(b, str)
    pairs = []
    # The rank correlations in the table `tau` belong to no run, so they have no curve.
    known = {*runs.smoothed, *runs.rows[quantity["table"]]}
    for seed in sorted({seed for condition, seed in known if condition == a}):
        both = [(a, seed)] if alone else [(a, seed), (b, seed)]
        rows = [runs.rows_of(run, quantity["table"], claim["layers"]) for run in both]
        diverged = [run in runs.diverged for run in both]
        lost = [_lost(runs, run, found, quantity) for run, found in zip(both, rows, strict=True)]
        # A run that diverged at step 0 may have no values.
        if not all(len(found) or lost for found, lost in zip(rows, diverged, strict=True)):
            continue
        values = [runs.values(run, quantity, claim["layers"]) for run in both]
        constant = _constant(rows[0], b) if alone else None
        if alone:
            if not len(values[0].columns):  # the run diverged at step 0
                values[0] = pd.DataFrame(columns=[quantity["column"]], dtype=float)
            values.append(pd.DataFrame(constant, index=values[0].index, columns=values[0].columns))
        curves = [runs.smoothed[run] for run in both if run in runs.smoothed]
        counted = until_accuracy(values, curves, quantity["until_accuracy"])
        pairs.append(
            {
                "seed": seed,
                "values": values,
                "constant": constant,
                "counted": _within(counted, curves, quantity["steps"]),
                "curves": [*curves[:1], *curves[-1:]],
                "diverged": diverged,
                "lost": list(itertools.chain(*lost)),
            }
        )
    return pairs


def _lost(runs, run, rows, quantity):
    """Return the condition of a run that diverged, or those of diverged runs of which its values are made.

    A table that is made of several runs, as `tau` is, names them in a column <column>_diverged.
    """
    if run in runs.diverged:
        return [run[0]]
    named = rows.get(f"{quantity['column']}_diverged", pd.Series(dtype=object)).dropna()
    return [name for names in named for name in names.split(";") if name]


def _by_step(rows, column):
    """Return the columns of a quantity by step: means over the layers.

    A name ending in * stands for all columns with that prefix. Steps without a value are dropped.
    """
    columns = [c for c in rows if c == column or (column.endswith("*") and c.startswith(column[:-1]))]
    if not columns and rows.empty:  # every run diverged at step 0, so the table has no such column
        return pd.DataFrame()
    if not columns:
        known = ", ".join(rows.columns.drop(["condition", "seed", "layer", "step"], errors="ignore"))
        raise StudyError(
            f"claims.yaml: quantities: expected a column of the table, one of {known}; found {column}: "
            "correct the `column` of the quantity"
        )
    # A table of several tasks has columns that are empty in the runs of one task.
    return rows.groupby("step")[columns].mean().dropna(axis="columns", how="all").dropna()


def until_accuracy(values, curves, accuracy):
    """Return values by step before the first step at which one of the curves reaches an accuracy, if any."""
    if not accuracy:
        return values
    passed = [curve.index[curve["accuracy"] >= accuracy].min() for curve in curves]
    first = np.nanmin([*passed, np.inf])
    return [of_run[of_run.index < first] for of_run in values]


def _within(values, curves, fractions):
    """Return values by step between two fractions of the configured run, both ends included."""
    if not fractions:
        return values
    # Also the curve of a diverged run has a row for every configured step.
    first, last = (fraction * curves[0].index.max() for fraction in fractions)
    return [of_run[(of_run.index >= first) & (of_run.index <= last)] for of_run in values]


def _constant(rows, reference):
    """Return chance, as the rows of a run have it, or the number that stands in place of a condition."""
    return float(rows[CHANCE].iloc[0] if reference == CHANCE else reference)


def assess(pairs, claim, quantity, summary, *, finite_only=False):
    """Return n, effects (one per seed), reason, and the result of `verdicts.assess`."""
    effects = np.array([_effect(pair, quantity, summary) for pair in pairs])
    counted = effects[np.isfinite(effects)] if finite_only else effects[~np.isnan(effects)]
    result = {"n": len(counted), "effects": effects, "reason": ""}
    if len(counted) < 2:
        missing = dict.fromkeys(("effect", "ci_low", "ci_high", "p_sign_flip"), np.nan)
        reason = f"an interval needs at least 2 seeds with a value of both conditions, found {len(counted)}"
        return result | missing | {"verdict": "not run", "reason": reason}
    margin = margin_of(claim, quantity)
    return result | verdicts.assess(counted, expected=claim["expected"], margin=margin)


def _effect(pair, quantity, summary):
    """Return the effect at one seed; if the quantity has several columns, the largest of their effects."""
    a, b = pair["values" if summary == WHOLE_RUN else "counted"]
    summary = "mean" if summary == WHOLE_RUN else summary
    # Only a run that diverged at step 0 lacks columns that the other run has.
    columns = a.columns.union(b.columns)
    if len(columns) > min(len(a.columns), len(b.columns)):
        a, b = (values.reindex(columns=columns) for values in (a, b))
    effects = [_effect_of_column(pair, a[c], b[c], quantity, summary) for c in columns]
    return np.max(effects) if effects else np.nan


def _effect_of_column(pair, a, b, quantity, summary):
    """Return the effect at one seed from the values of one column by step, a and b."""
    if summary == "equal_loss":
        means = summaries.equal_loss(a, b, *(curve["loss"] for curve in pair["curves"]))
        return _compare(*means, quantity).mean() if len(means[0]) else np.nan
    if summary == "geometric_mean":  # a zero must not decide the mean over all steps
        a, b = a.clip(lower=quantity["floor"]), b.clip(lower=quantity["floor"])
    numbers = [summaries.OF_ONE_RUN[summary](values) if len(values) else np.nan for values in (a, b)]
    if pair["constant"] is not None:  # it is known also if the run diverged before the first step that counts
        numbers[1] = pair["constant"]
    if quantity["table"] != TRAINING or quantity["compare"] == "log_ratio":
        worst = WORST[quantity["compare"]]
        for i, diverged in enumerate(pair["diverged"]):
            counts = not diverged or (summary == "first" and not np.isnan(numbers[i]))
            numbers[i] = numbers[i] if counts else worst
    return _compare(*numbers, quantity)


def _compare(a, b, quantity):
    """Return a − b or log(a / b); 0 if both are the same infinity, since neither is larger."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if quantity["compare"] == "log_ratio":
        with np.errstate(divide="ignore"):  # the logarithm of 0, if the floor is 0
            a, b = np.log(np.maximum(a, quantity["floor"])), np.log(np.maximum(b, quantity["floor"]))
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(a) & (a == b), 0.0, a - b)


def margin_of(claim, quantity):
    """Return the margin in units of the effect: the logarithm of the factor for a log ratio."""
    return np.log(claim["margin"]) if quantity["compare"] == "log_ratio" else claim["margin"]
