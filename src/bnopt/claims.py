"""Stage 5: judge every claim of the configuration by one number per seed."""

import numpy as np
import pandas as pd

from bnopt import runtime, summaries, verdicts
from bnopt.files import artefacts
from bnopt.runtime import StudyError

# Figures, reports and readers take the first lines; the rest is for readers of the table.
COLUMNS = [
    "claim", "label", "source", "statement", "quantity", "condition_a", "condition_b", "expected", "margin",
    "effect", "ci_low", "ci_high", "n", "n_diverged", "p_sign_flip", "p_holm", "verdict",
    "flips_under", "paper_value", "margin_from", "family", "compare", "reason",
]  # fmt: skip
CHANCE = "chance"
WHOLE_RUN = "whole_run"
TRAINING = "training"
# What is no longer recorded of a diverged run counts as the worst there is, whatever was recorded before.
WORST = {"log_ratio": np.inf, "difference": -np.inf}


def judge(tables, *, claims, quantities):
    """Return three tables: the claims with their verdicts, their sensitivity, and the numbers per seed.

    tables: name -> table with a value per quantity, run and step; `training` is always among them.
    claims: id -> label, source, family, statement, quantity, layers, condition_a, condition_b, expected,
    margin, margin_from, paper_value. quantities: name -> table, column, summary, compare, floor,
    until_accuracy, sensitivity.

    With a, b the numbers of the conditions at one seed, an effect is a − b or, for positive
    quantities, log(max(a, floor) / max(b, floor)); the margin of a log ratio is given as a factor.
    condition_b may be `chance` or a number instead of a condition. With `until_accuracy` only those
    steps count before either run passes that training accuracy. Of a diverged run losses and what probes
    measure count as the worst there is: sizes as ∞, cosines as −∞; accuracies are those of a guess.
    """
    rows, sensitivity, numbers = [], [], []
    for name, claim in claims.items():
        quantity = quantities[claim["quantity"]]
        pairs = _pairs(tables, claim, quantity)
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


def _pairs(tables, claim, quantity):
    """Return, for each seed both conditions were run with, their values and training curves by step."""
    table = tables[quantity["table"]]
    if claim["layers"]:
        table = table[table["layer"].isin(claim["layers"])]
    by_run = dict(list(table.groupby(["condition", "seed"])))
    curves = dict(list(tables[TRAINING].groupby(["condition", "seed"])))
    a, b = claim["condition_a"], claim["condition_b"]
    alone = b == CHANCE or not isinstance(b, str)
    pairs = []
    for seed in sorted({seed for condition, seed in curves if condition == a}):
        runs = [(a, seed)] if alone else [(a, seed), (b, seed)]
        diverged = [run in curves and bool(curves[run]["diverged"].any()) for run in runs]
        # Of a run that diverged at once there may be nothing to probe.
        if not all(run in by_run or lost for run, lost in zip(runs, diverged, strict=True)):
            continue
        rows = [by_run.get(run, table.iloc[:0]) for run in runs]
        values = [_by_step(found, quantity["column"]) for found in rows]
        if alone:
            values.append(_reference(rows[0], b, values[0]))
        pairs.append(
            {
                "seed": seed,
                "values": values,
                "curves": [curves[run].set_index("step") for run in runs],
                "diverged": diverged,
            }
        )
    return pairs


def _by_step(rows, column):
    """Return the columns of a quantity by step, means over layers where there are several.

    A name ending in * stands for all columns that begin so. Steps without a value are dropped.
    """
    columns = [c for c in rows if c == column or (column.endswith("*") and c.startswith(column[:-1]))]
    if not columns and rows.empty:  # every run diverged at once: there is no column to be found
        return pd.DataFrame()
    if not columns:
        raise StudyError(f"claims.yaml: quantities: expected a column of {', '.join(rows)}; found {column}")
    # A table of several tasks has columns that a run of one of them leaves empty.
    return rows.groupby("step")[columns].mean().dropna(axis="columns", how="all").dropna()


def _reference(rows, reference, like):
    """Return what a condition is compared with where that is no condition: chance, or a constant."""
    constant = rows[CHANCE].iloc[0] if reference == CHANCE else reference
    return like * 0 + constant


def _assess(pairs, claim, quantity, summary, *, finite_only=False):
    """Return n, the effect of each seed, and what `verdicts.assess` says of them."""
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
    """Return the effect at one seed: of the column of a quantity, the largest where it has several."""
    a, b = pair["values"]
    if quantity["until_accuracy"] and summary != WHOLE_RUN:
        a, b = (values[values.index < _converged(pair, quantity)] for values in (a, b))
    summary = "mean" if summary == WHOLE_RUN else summary
    # Only a run that diverged at once lacks columns that the other has.
    columns = a.columns.union(b.columns)
    a, b = (values.reindex(columns=columns) for values in (a, b))
    effects = [_effect_of_column(pair, a[c], b[c], quantity, summary) for c in columns]
    return np.max(effects) if effects else np.nan


def _effect_of_column(pair, a, b, quantity, summary):
    if summary == "equal_loss":
        means = summaries.equal_loss(a, b, *(pair["curves"][i]["loss"] for i in (0, -1)))
        return _compare(*means, quantity).mean() if len(means[0]) else np.nan
    numbers = [summaries.OF_ONE_RUN[summary](values) if len(values) else np.nan for values in (a, b)]
    if quantity["table"] != TRAINING or quantity["compare"] == "log_ratio":
        worst = WORST[quantity["compare"]]
        for i, diverged in enumerate(pair["diverged"]):
            numbers[i] = worst if diverged else numbers[i]
    return _compare(*numbers, quantity)


def _converged(pair, quantity):
    """Return the first step at which either run passes the accuracy the quantity names, if any does."""
    smoothed = [summaries.smooth(curve["accuracy"]) for curve in pair["curves"]]
    passed = [accuracy[accuracy >= quantity["until_accuracy"]].index.min() for accuracy in smoothed]
    return np.nanmin([*passed, np.inf])


def _compare(a, b, quantity):
    """Return a − b or log(a / b); 0 where both are infinite: neither is the larger."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if quantity["compare"] == "log_ratio":
        with np.errstate(divide="ignore"):  # of a zero without a floor
            a, b = np.log(np.maximum(a, quantity["floor"])), np.log(np.maximum(b, quantity["floor"]))
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(a) & (a == b), 0.0, a - b)


def _margin(claim, quantity):
    return np.log(claim["margin"]) if quantity["compare"] == "log_ratio" else claim["margin"]


def _holm(p_values):
    adjusted = p_values.copy()
    adjusted[p_values.notna()] = verdicts.holm(p_values.dropna())
    return adjusted


def main(argv=None):
    """Judge all claims from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--tables", nargs="+", required=True, help="in the order of the settings")
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
