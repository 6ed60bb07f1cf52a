"""How often does the procedure call a claim supported that is false by a hair?

    PYTHONPATH=src python bench/calibration.py

Simulates 10,000 studies of 12 claims with 8 seeds each, from several distributions of effects, with the
true effect exactly at the margin: so every supported claim is an error. Then simulates each stored claim of
the scale `deep-linear` by itself. Writes bench/calibration.csv, bench/calibration_claims.csv and the tables
of docs/calibration.md. The seed of the simulation is fixed, so the same versions give the same bytes.
"""

import itertools
import math

import numpy as np
import pandas as pd
from _page import ROOT, replace, table
from scipy import special

from bnopt import verdicts

TABLE = ROOT / "bench" / "calibration.csv"
TABLE_OF_CLAIMS = ROOT / "bench" / "calibration_claims.csv"
STORED = ROOT / "docs" / "results" / "deep-linear"
STUDIES, CLAIMS, SEEDS = 10_000, 12, 8
FAMILIES, NUMBERS_OF_SEEDS = (1, CLAIMS), (3, 5, SEEDS)
# The least number of seeds that gives an interval, and so the first at which one may look.
FIRST = 2
LEVEL = 0.05
# Margins in units of the standard deviation of the effects.
MARGINS = (0.5, 1, 2, 4)
GRADES = ("supported", "confirmed", "evidence")
# A claim without a margin is about the direction alone.
KINDS = {"greater": (0,), "less": (0,)} | dict.fromkeys(("not_less", "not_greater", "equivalent"), MARGINS)
NOMINAL = dict.fromkeys(KINDS, 0.025) | {"equivalent": 0.05}
# Rows of effects whose sign flips are held in memory at once.
CHUNK = 8192


# -- effects about the margin: arrays of study, claim and seed, with standard deviation 1 ----------


def normal(rng, shape):
    return rng.normal(size=shape)


def log_normal_about_its_mean(rng, shape):
    return (rng.lognormal(size=shape) - np.exp(0.5)) / _log_normal_deviation()


def log_normal_about_its_median(rng, shape):
    return (rng.lognormal(size=shape) - 1) / _log_normal_deviation()


def _log_normal_deviation():
    return np.sqrt((np.e - 1) * np.e)


def residuals_of_normal_effects(rng, shape):
    """Return residuals drawn like stored ones, but those of as many normal effects: for comparison.

    What exceeds the nominal share here comes from the few values that are drawn from, not from the shape.
    """
    studies, claims, _ = shape
    effects = rng.normal(size=(studies, claims, stored_residuals().shape[1]))
    return _drawn(rng, standardised(effects), shape)


def residuals_of_stored_effects(rng, shape):
    """Return residuals of stored effects; each study draws its claims, without replacement, from all."""
    residuals = stored_residuals()
    order = rng.permuted(np.tile(np.arange(len(residuals)), (shape[0], 1)), axis=1)
    return _drawn(rng, residuals[order[:, : shape[1]]], shape)


def _drawn(rng, residuals, shape):
    """Return residuals (study, claim, one of k) at seeds drawn with replacement, shared by all claims."""
    studies, _, seeds = shape
    drawn = rng.integers(residuals.shape[-1], size=(studies, 1, seeds))
    return np.take_along_axis(residuals, drawn, axis=-1)


def stored_residuals():
    """Return standardised residuals by claim, at the seeds at which every stored effect is finite."""
    effects = _stored_effects()
    return standardised(effects.loc[:, np.isfinite(effects).all()].to_numpy())


def _stored_effects():
    """Return the effects of the paper's claims: a row per claim, a column per seed."""
    source = pd.read_csv(STORED / "claims.csv").set_index("claim")["source"]
    effects = pd.read_csv(STORED / "claims_per_seed.csv").pivot(
        index="claim", columns="seed", values="effect"
    )
    return effects[~effects.index.map(source).str.startswith("beyond the paper")]


def standardised(effects):
    """Return residuals of effects along the last axis, k seeds, inflated by √(k / (k − 1)).

    They are divided by the standard deviation of the effects (divisor k − 1), so that drawing one of them
    has standard deviation 1.
    """
    k = effects.shape[-1]
    residuals = effects - effects.mean(axis=-1, keepdims=True)
    return residuals * np.sqrt(k / (k - 1)) / effects.std(axis=-1, ddof=1, keepdims=True)


DISTRIBUTIONS = {
    "normal": normal,
    "log-normal about its mean": log_normal_about_its_mean,
    "log-normal about its median": log_normal_about_its_median,
    "residuals, normal": residuals_of_normal_effects,
    "residuals, stored": residuals_of_stored_effects,
}


# -- the judging functions of bnopt.verdicts for many claims at once, of finite effects ------------


def assess(effects, *, expected, margin):
    """Return whether each claim is supported, and its p value; see `verdicts.assess`.

    effects: the seeds are the last axis. A claim whose effects are all the same is not supported here:
    that happens only where residuals are drawn twice.
    """
    lower, upper = verdicts.boundaries(expected, margin)
    n = effects.shape[-1]
    tail = LEVEL if expected == verdicts.EQUIVALENT else LEVEL / 2
    centre, deviation = effects.mean(axis=-1), effects.std(axis=-1, ddof=1)
    half = deviation / np.sqrt(n) * special.stdtrit(n - 1, 1 - tail)
    supported = (centre - half > lower) & (centre + half < upper) & (np.ptp(effects, axis=-1) > 0)
    return supported, np.max([sign_flip_p(of) for of in _beyond(effects, lower, upper)], axis=0)


def _beyond(effects, lower, upper):
    """Return the distances of the effects from each finite boundary, positive on the expected side."""
    distances = [effects - lower] if np.isfinite(lower) else []
    return distances + ([upper - effects] if np.isfinite(upper) else [])


def sign_flip_p(differences):
    """Return the p value of each row of differences along the last axis; see `verdicts.sign_flip_p`."""
    n = differences.shape[-1]
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=n))).T
    rows = differences.reshape(-1, n)
    shares = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        sums = rows[start : start + CHUNK] @ signs
        observed = sums[:, :1]
        shares[start : start + CHUNK] = (sums >= observed - abs(observed) * verdicts.TIE).mean(axis=1)
    return shares.reshape(differences.shape[:-1])


def holm(p_values):
    """Return the p values adjusted along the last axis, a family; see `verdicts.holm`."""
    order = np.argsort(p_values, axis=-1, kind="stable")
    factors = np.arange(p_values.shape[-1], 0, -1)
    steps = np.maximum.accumulate(np.take_along_axis(p_values, order, axis=-1) * factors, axis=-1)
    adjusted = np.empty_like(p_values)
    np.put_along_axis(adjusted, order, np.minimum(steps, 1), axis=-1)
    return adjusted


def e_value(effects, *, expected, margin):
    """Return E = ∫₀¹ (1 + λ)ᵏ (1 − λ)ⁿ⁻ᵏ dλ of each claim, k of n effects on the expected side.

    It is an e-value for "a new seed falls on the expected side no more often than on the other", however
    one decides when to stop. For an equivalence it is the smaller of those of the two boundaries.
    """
    n = effects.shape[-1]
    of_count = np.array([_mixture(k, n) for k in range(n + 1)])
    return np.min(
        [of_count[(of > 0).sum(axis=-1)] for of in _beyond(effects, *verdicts.boundaries(expected, margin))],
        axis=0,
    )


def _mixture(k, n):
    """Return ∫₀¹ (1 + λ)ᵏ (1 − λ)ⁿ⁻ᵏ dλ = 2ⁿ⁺¹ P(Bin(n + 1, ½) ≤ k) / ((n + 1) C(n, k))."""
    return sum(math.comb(n + 1, i) for i in range(k + 1)) / ((n + 1) * math.comb(n, k))


# -- shares of errors ------------------------------------------------------------------------------


def scenarios():
    """Yield expected, margin, and the true effect: each finite boundary of the claim."""
    for expected, margins in KINDS.items():
        for margin in margins:
            for boundary in verdicts.boundaries(expected, margin):
                if np.isfinite(boundary):
                    yield expected, margin, boundary


def errors(effects, *, expected, margin):
    """Yield n, looking, family, and the shares of families with a claim falsely of each grade.

    effects: study, claim and seed. n: seeds of the study. looking: whether the study counts as an error if
    the claim is of the grade after any seed from the second on, not only after the n-th.

    supported    the interval says so
    confirmed    and Holm's p within the family is at most 5 %
    evidence     the e-value is at least 20 times the size of the family
    """
    found = {}
    for n in range(FIRST, effects.shape[-1] + 1):
        supported, p_values = assess(effects[..., :n], expected=expected, margin=margin)
        e_values = e_value(effects[..., :n], expected=expected, margin=margin)
        for family in FAMILIES:
            confirmed = supported[:, :family] & (holm(p_values[:, :family]) <= LEVEL)
            evident = e_values[:, :family] >= family / LEVEL
            found[n, family] = [of.any(axis=1) for of in (supported[:, :family], confirmed, evident)]
    for n, looking, family in itertools.product(NUMBERS_OF_SEEDS, (False, True), FAMILIES):
        looks = range(FIRST if looking else n, n + 1)
        yield n, looking, family, *np.any([found[look, family] for look in looks], axis=0).mean(axis=1)


def simulate(studies=STUDIES):
    """Return a row per distribution, scenario, n, looking and family."""
    rows = []
    for name, draw in DISTRIBUTIONS.items():
        noise = draw(np.random.default_rng(0), (studies, CLAIMS, SEEDS))
        for expected, margin, truth in scenarios():
            for row in errors(truth + noise, expected=expected, margin=margin):
                rows.append((name, expected, margin, truth, *row))
        print(name, flush=True)
    columns = ["distribution", "expected", "margin", "truth", "n", "looking", "family"]
    return pd.DataFrame(rows, columns=[*columns, *GRADES])


def simulate_claims(studies=STUDIES):
    """Return a row per stored claim and n: the shares in which its own residuals falsely support it.

    Its residuals are drawn about the boundary of the claim, as `expected` says; of an equivalence, the
    stored ones have none. skewness: of its residuals.
    """
    stored = pd.read_csv(STORED / "claims.csv").set_index("claim")
    rows = []
    for claim, residuals in zip(_stored_effects().index, stored_residuals(), strict=True):
        drawn = _drawn(np.random.default_rng(0), residuals[None, None], (studies, 1, SEEDS))[:, 0]
        expected = stored.loc[claim, "expected"]
        (boundary,) = filter(np.isfinite, verdicts.boundaries(expected, 0))
        for n in NUMBERS_OF_SEEDS:
            supported, _ = assess(boundary + drawn[:, :n], expected=expected, margin=0)
            rows.append((claim, expected, (residuals**3).mean(), n, supported.mean()))
    return pd.DataFrame(rows, columns=["claim", "expected", "skewness", "n", "supported"])


# -- the page --------------------------------------------------------------------------------------

LINES = (
    ("greater, not_less", "greater", 0),
    ("less, not_greater", "less", 0),
    *((f"equivalent, margin {margin:g} σ", "equivalent", margin) for margin in (0.5, 1, 4)),
)


def page(rows):
    """Return the two tables of the page: one claim, and families and grades."""
    one, many = rows["family"] == 1, rows["family"] == CLAIMS
    looking = rows["looking"]
    at = {n: rows["n"] == n for n in NUMBERS_OF_SEEDS}
    supported = {f"n = {n}": ("supported", one & ~looking & of) for n, of in at.items()}
    supported |= {f"looking, to {n}": ("supported", one & looking & of) for n, of in at.items()}
    last = at[SEEDS]
    graded = {
        "supported, any of 12": ("supported", many & ~looking & last),
        "supported, any of 12, looking": ("supported", many & looking & last),
        "confirmed, 1": ("confirmed", one & ~looking & last),
        "confirmed, 1, looking": ("confirmed", one & looking & last),
        "confirmed, any of 12": ("confirmed", many & ~looking & last),
        "E ≥ 20, 1, looking": ("evidence", one & looking & last),
    }
    return "\n\n".join(
        [
            "**Table 1.** One claim: falsely *supported*, in % of studies.",
            _table(rows, {"nominal": NOMINAL} | supported),
            f"**Table 2.** {SEEDS} seeds: families of 1 or 12 claims with an error, in %.",
            _table(rows, graded),
        ]
    )


def _table(rows, columns):
    """Return a table in %: a line per distribution and kind of claim, a column per choice of rows."""
    lines = []
    for name, (label, expected, margin) in itertools.product(DISTRIBUTIONS, LINES):
        line = (rows["distribution"] == name) & (rows["expected"] == expected) & (rows["margin"] == margin)
        shares = [
            # An equivalence has two boundaries: the one at which errors are more frequent counts.
            column[expected] if isinstance(column, dict) else rows.loc[line & column[1], column[0]].max()
            for column in columns.values()
        ]
        lines.append([name, label, *(f"{100 * share:.1f}" for share in shares)])
    return table(["effects", "claim", *columns], lines)


def page_of_claims(rows):
    """Return the table of the stored claims that are falsely supported most often, at eight seeds."""
    wide = rows.pivot(index=["claim", "expected", "skewness"], columns="n", values="supported")
    wide = wide.sort_values(SEEDS, ascending=False, kind="stable").reset_index()
    lines = [
        [f"`{row['claim']}`", row["expected"], f"{row['skewness']:.1f}"]
        + [f"{100 * row[n]:.1f}" for n in NUMBERS_OF_SEEDS]
        for _, row in wide.iterrows()
    ]
    return table(["claim", "expected", "skewness", *(f"n = {n}" for n in NUMBERS_OF_SEEDS)], lines)


def read(file):
    """Return a stored table."""
    return pd.read_csv(file)


def main():
    """Simulate, and write the tables and the page."""
    simulate().to_csv(TABLE, index=False, lineterminator="\n")
    simulate_claims().to_csv(TABLE_OF_CLAIMS, index=False, lineterminator="\n")
    replace("calibration", page(read(TABLE)))
    replace("calibration of claims", page_of_claims(read(TABLE_OF_CLAIMS)))


if __name__ == "__main__":
    main()
