"""Stage 5: judge every claim of the configuration from one number per seed."""

import json

import numpy as np
import pandas as pd

from bnopt import effects, evidence, runtime
from bnopt.files import artefacts

# `judge` describes the columns.
COLUMNS = [
    "claim", "label", "source", "statement", "quantity", "condition_a", "condition_b", "expected", "margin",
    "effect", "ci_low", "ci_high", "n", "n_diverged", "p_sign_flip", "p_holm", "verdict",
    "flips_under", "paper_value", "margin_from", "family", "compare", "reason",
    "grade", "p_opposite", "p_opposite_holm", "e_value", "seeds_needed", "seeds_agreeing",
    "share_agreeing_at_least", "seeds_to_confirm", "diverged",
]  # fmt: skip


def judge(tables, *, claims, quantities):
    """Return three tables: the claims with their verdicts, their sensitivity, and the effects per seed.

    tables: name -> table with a value per quantity, run and step; one of them is `training`.
    claims: name -> label, source, family, statement, quantity, layers, condition_a, condition_b, expected,
    margin, margin_from, paper_value.
    quantities: name -> table, column, summary, compare, floor, until_accuracy, steps, sensitivity; a few
    have `times`, a table and its column by which the values are multiplied step by step.

    Let a and b be the numbers of the two conditions at one seed. An effect is a − b or, for positive
    quantities, log(max(a, floor) / max(b, floor)). The margin of a log ratio is given as a factor.
    condition_b may be `chance` or a number instead of a condition. With `until_accuracy`, only steps count
    before either run reaches that training accuracy; with `steps`, two fractions f and h of a run of T
    configured steps, only those from f·T to h·T. Losses and probe values of a diverged run count as
    the worst possible value: sizes as ∞, cosines as −∞. Its first values count as they are, its
    accuracies are those of a random guess, and a comparison at equal loss uses its steps before divergence.
    Geometric means count a value below the floor as the floor.

    The columns of the claims are those of a claim (without layers) and:

    margin                        log of the margin if compare is log_ratio
    effect, ci_low, ci_high, p_sign_flip, verdict     see `verdicts.assess`
    n                             number of seeds with an effect
    n_diverged                    number of diverged runs of both conditions, or among those that are ranked
    diverged                      the conditions of these runs, separated by ;
    flips_under                   the other summaries that change the verdict, separated by ;
    compare                       of the quantity: difference or log_ratio
    reason                        why a claim is not run; else empty
    p_opposite, e_value, seeds_needed, seeds_agreeing, share_agreeing_at_least      see `evidence.of_claim`
    p_holm, p_opposite_holm, seeds_to_confirm, grade                                see `evidence.of_families`

    No figure or report uses margin_from: it is for readers of the table.

    The sensitivity has a row per claim and summary, the claim's own first; `finite_only` is the claim's
    own summary without infinite effects. Its columns n and reason are for readers of the table, and so
    is the whole third table: claim, seed, effect.
    """
    runs = effects.Runs(tables)
    rows, sensitivity, numbers = [], [], []
    for name, claim in claims.items():
        quantity = quantities[claim["quantity"]]
        pairs = effects.pairs(runs, claim, quantity)
        primary = effects.assess(pairs, claim, quantity, quantity["summary"])
        others = [
            effects.assess(pairs, claim, quantity, summary) | {"summary": summary}
            for summary in quantity["sensitivity"]
        ]
        if not np.isfinite(primary["effects"]).all():
            others.append(
                effects.assess(pairs, claim, quantity, quantity["summary"], finite_only=True)
                | {"summary": "finite_only"}
            )
        lost = [name for pair in pairs for name in pair["lost"]]
        flips = [o["summary"] for o in others if o["verdict"] not in (primary["verdict"], "not run")]
        rows.append(
            {
                "claim": name,
                **claim,
                "compare": quantity["compare"],
                "margin": effects.margin_of(claim, quantity),
                "n_diverged": len(lost),
                "diverged": ";".join(dict.fromkeys(lost)),
                "flips_under": ";".join(flips),
                **primary,
                **_evidence(primary, claim, quantity),
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
    verdict_rows = evidence.of_families(pd.DataFrame(rows, columns=COLUMNS).astype({"seeds_needed": "Int64"}))
    columns = ["claim", "summary", "effect", "ci_low", "ci_high", "n", "verdict", "reason"]
    return (
        verdict_rows,
        pd.DataFrame(sensitivity, columns=columns),
        pd.DataFrame(numbers, columns=["claim", "seed", "effect"]),
    )


def _evidence(assessed, claim, quantity):
    """Return the columns of `evidence.of_claim`, from the result of `effects.assess`."""
    found = assessed["effects"]
    counted = found[~np.isnan(found)]
    margin = effects.margin_of(claim, quantity)
    return evidence.of_claim(counted, assessed["verdict"], expected=claim["expected"], margin=margin)


def main(argv=None):
    """Judge all claims from the command line; those that can be registered get the column `registration`."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--tables", nargs="+", required=True, help="(.csv), in the order of the settings")
    parser.add_argument("--claims", required=True, help="table to write (.csv)")
    parser.add_argument("--sensitivity", required=True, help="table to write (.csv)")
    parser.add_argument("--numbers", required=True, help="table to write (.csv)")
    parser.add_argument("--registration", type=json.loads, default={}, help="family -> hash, if any (JSON)")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    settings = dict(job.settings)
    names = settings.pop("tables")
    tables = {name: artefacts.read_table(file) for name, file in zip(names, options.tables, strict=True)}
    results = judge(tables, **settings)
    if options.registration:
        results[0]["registration"] = results[0]["family"].map(options.registration)
    for table, file in zip(results, (options.claims, options.sensitivity, options.numbers), strict=True):
        artefacts.write_table(table, file, job=job)


if __name__ == "__main__":
    runtime.run(main)
