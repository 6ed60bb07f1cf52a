"""Stage 5: judge every claim of the configuration from one number per seed."""

import numpy as np
import pandas as pd

from bnopt import runtime, summaries, verdicts
from bnopt.files import artefacts
from bnopt.runtime import StudyError

# `judge` describes the columns.
COLUMNS = [
    "claim", "label", "source", "statement", "quantity", "condition_a", "condition_b", "expected", "margin",
    "effect", "ci_low", "ci_high", "n", "n_diverged", "p_sign_flip", "p_holm", "verdict",
    "flips_under", "paper_value", "margin_from", "family", "compare", "reason",
]  # fmt: skip
CHANCE = "chance"
WHOLE_RUN = "whole_run"
TRAINING = "training"
# The number of a diverged run, whatever was recorded before it diverged: the worst possible value.
WORST = {"log_ratio": np.inf, "difference": -np.inf}


def judge(tables, *, claims, quantities):
    """Return three tables: the claims with their verdicts, their sensitivity, and the effects per seed.

    tables: name -> table with a value per quantity, run and step; one of them is `training`.
    claims: name -> label, source, family, statement, quantity, layers, condition_a, condition_b, expected,
    margin, margin_from, paper_value.
    quantities: name -> table, column, summary, compare, floor, until_accuracy, steps, sensitivity.

    Let a and b be the numbers of the two conditions at one seed. An effect is a − b or, for positive
    quantities, log(max(a, floor) / max(b, floor)). The margin of a log ratio is given as a factor.
    condition_b may be `chance` or a number instead of a condition. With `until_accuracy`, only steps count
    before either run reaches that training accuracy; with `steps`, two fractions f and h of a run of T
    configured steps, only those from f·T to h·T. Losses and probe values of a diverged run count as
    the worst possible value: sizes as ∞, cosines as −∞. Its accuracies are those of a random guess.

    The columns of the claims are those of a claim (without layers) and:

    margin                        log of the margin if compare is log_ratio
    effect, ci_low, ci_high, p_sign_flip, verdict     see `verdicts.assess`
    n                             number of seeds with an effect
    n_diverged                    number of diverged runs of both conditions
    p_holm                        p_sign_flip adjusted for the claims of the family
    flips_under                   the other summaries that change the verdict, separated by ;
    compare                       of the quantity: difference or log_ratio
    reason                        why a claim is not run; else empty

    No figure or report uses margin_from: it is for readers of the table.

    The sensitivity has a row per claim and summary, the claim's own first; `finite_only` is the claim's
    own summary without infinite effects. Its columns n and reason are for readers of the table, and so
    is the whole third table: claim, seed, effect.
    """
    runs = _Runs(tables)
    rows, sensitivity, numbers = [], [], []
    for name, claim in claims.items():
        quantity = quantities[claim["quantity"]]
        pairs = _pairs(runs, claim, quantity)
        primary = _assess(pairs, claim, quantity, quantity["summary"])
        others = [
            _assess(pairs, claim, quantity, summary) | {"summary": summary}
            for summary in quantity["sensitivity"]
        ]
        if not np.isfinite(primary["effects"]).all():
            others.append(
                _assess(pairs, claim, quantity, quantity["summary"], finite_only=True)
                | {"summary": "finite_only"}
            )
        flips = [o["summary"] for o in others if o["verdict"] not in (primary["verdict"], "not run")]
        rows.append(
            {
                "claim": name,
                **claim,
                "compare": quantity["compare"],
                "margin": _margin(claim, quantity),
                "n_diverged": sum(sum(pair["diverged"]) for pair in pairs),
                "flips_under": ";".join(flips),
                **primary,
            }
        )
        sensitivity += [
            {"claim": name, "summary": quantity["summary"], **primary},
            *({"claim": name, **other} for other in others),
        ]
        numbers += [
            {"claim": name, "seed": pair["seed"], "effect": effect}
            for pair, effect in zip(pairs, primary["effects"], strict=True)
        ]
    verdict_rows = pd.DataFrame(rows, columns=COLUMNS)
    verdict_rows["p_holm"] = verdict_rows.groupby("family")["p_sign_flip"].transform(_holm)
    columns = ["claim", "summary", "effect", "ci_low", "ci_high", "n", "verdict", "reason"]
    return (
        verdict_rows,
        pd.DataFrame(sensitivity, columns=columns),
        pd.DataFrame(numbers, columns=["claim", "seed", "effect"]),
    )


class _Runs:
    """The tables by run: each is split once, and a mean is taken once, for all claims that use it.

    rows        table -> run -> its rows; a run is (condition, seed)
    smoothed    run -> its loss and accuracy by step, smoothed (`summaries.smooth`)
    diverged    the runs that have diverged
    """

    def __init__(self, tables):
        self.rows = {name: dict(list(of.groupby(["condition", "seed"]))) for name, of in tables.items()}
        curves = self.rows[TRAINING]
        self.smoothed = {
            run: summaries.smooth(curve.set_index("step")[["loss", "accuracy"]])
            for run, curve in curves.items()
        }
        self.diverged = {run for run, curve in curves.items() if curve["diverged"].any()}
        self._empty = {name: of.iloc[:0] for name, of in tables.items()}
        self._means = {}

    def rows_of(self, run, table, layers):
        """Return the rows of a run in these layers, or in all if `layers` is empty."""
        rows = self.rows[table].get(run, self._empty[table])
        return rows[rows["layer"].isin(layers)] if layers else rows

    def values(self, run, quantity, layers):
        """Return the columns of a quantity by step (`_by_step`) of a run in these layers."""
        key = (run, quantity["table"], quantity["column"], *layers)
        if key not in self._means:
            self._means[key] = _by_step(self.rows_of(run, quantity["table"], layers), quantity["column"])
        return self._means[key]


def _pairs(runs, claim, quantity):
    """Return what effects are computed from, for each seed that both conditions have.

    A seed counts if each of its two runs has values or has diverged.

    values      of both sides, by step
    counted     those before either run reaches the quantity's `until_accuracy`, within its `steps`
    losses      smoothed, of both sides; those of the one run, twice, if the other side is no condition
    diverged    whether each run has diverged
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
        # A run that diverged at step 0 may have no values.
        if not all(len(found) or lost for found, lost in zip(rows, diverged, strict=True)):
            continue
        values = [runs.values(run, quantity, claim["layers"]) for run in both]
        if alone:
            values.append(_reference(rows[0], b, values[0]))
        curves = [runs.smoothed[run] for run in both if run in runs.smoothed]
        pairs.append(
            {
                "seed": seed,
                "values": values,
                "counted": _within(
                    _until_accuracy(values, curves, quantity["until_accuracy"]), curves, quantity["steps"]
                ),
                "losses": [curve["loss"] for curve in (*curves[:1], *curves[-1:])],
                "diverged": diverged,
            }
        )
    return pairs


def _by_step(rows, column):
    """Return the columns of a quantity by step: means over the layers.

    A name ending in * stands for all columns with that prefix. Steps without a value are dropped.
    """
    columns = [c for c in rows if c == column or (column.endswith("*") and c.startswith(column[:-1]))]
    if not columns and rows.empty:  # every run diverged at step 0, so the table has no such column
        return pd.DataFrame()
    if not columns:
        raise StudyError(f"claims.yaml: quantities: expected a column of {', '.join(rows)}; found {column}")
    # A table of several tasks has columns that are empty in the runs of one task.
    return rows.groupby("step")[columns].mean().dropna(axis="columns", how="all").dropna()


def _until_accuracy(values, curves, accuracy):
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


def _reference(rows, reference, like):
    """Return chance or a constant as values by step, in place of a condition; like: values by step."""
    constant = rows[CHANCE].iloc[0] if reference == CHANCE else reference
    return like * 0 + constant


def _assess(pairs, claim, quantity, summary, *, finite_only=False):
    """Return n, effects (one per seed), reason, and the result of `verdicts.assess`."""
    effects = np.array([_effect(pair, quantity, summary) for pair in pairs])
    counted = effects[np.isfinite(effects)] if finite_only else effects[~np.isnan(effects)]
    result = {"n": len(counted), "effects": effects, "reason": ""}
    if len(counted) < 2:
        missing = dict.fromkeys(("effect", "ci_low", "ci_high", "p_sign_flip"), np.nan)
        reason = f"an interval needs at least 2 seeds with a value of both conditions, found {len(counted)}"
        return result | missing | {"verdict": "not run", "reason": reason}
    margin = _margin(claim, quantity)
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
        means = summaries.equal_loss(a, b, *pair["losses"])
        return _compare(*means, quantity).mean() if len(means[0]) else np.nan
    numbers = [summaries.OF_ONE_RUN[summary](values) if len(values) else np.nan for values in (a, b)]
    if quantity["table"] != TRAINING or quantity["compare"] == "log_ratio":
        worst = WORST[quantity["compare"]]
        for i, diverged in enumerate(pair["diverged"]):
            numbers[i] = worst if diverged else numbers[i]
    return _compare(*numbers, quantity)


def _compare(a, b, quantity):
    """Return a − b or log(a / b); 0 if both are the same infinity, since neither is larger."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if quantity["compare"] == "log_ratio":
        with np.errstate(divide="ignore"):  # the logarithm of 0, if the floor is 0
            a, b = np.log(np.maximum(a, quantity["floor"])), np.log(np.maximum(b, quantity["floor"]))
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(a) & (a == b), 0.0, a - b)


def _margin(claim, quantity):
    """Return the margin in units of the effect: the logarithm of the factor for a log ratio."""
    return np.log(claim["margin"]) if quantity["compare"] == "log_ratio" else claim["margin"]


def _holm(p_values):
    """Return the adjusted p values of one family; claims that are not run have none and do not count."""
    adjusted = p_values.copy()
    adjusted[p_values.notna()] = verdicts.holm(p_values.dropna())
    return adjusted


def main(argv=None):
    """Judge all claims from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--tables", nargs="+", required=True, help="(.csv), in the order of the settings")
    parser.add_argument("--claims", required=True, help="table to write (.csv)")
    parser.add_argument("--sensitivity", required=True, help="table to write (.csv)")
    parser.add_argument("--numbers", required=True, help="table to write (.csv)")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    settings = dict(job.settings)
    names = settings.pop("tables")
    tables = {name: artefacts.read_table(file) for name, file in zip(names, options.tables, strict=True)}
    results = judge(tables, **settings)
    for table, file in zip(results, (options.claims, options.sensitivity, options.numbers), strict=True):
        artefacts.write_table(table, file, job=job)


if __name__ == "__main__":
    runtime.run(main)
