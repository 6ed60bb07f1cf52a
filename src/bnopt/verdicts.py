"""The statistics of a claim: interval, exact p value and verdict, from one effect per seed.

They are those of `scipy.stats`, with which the tests compare them. It is not imported: that takes longer
than all else that a job with verdicts imports.
"""

import math

import numpy as np
from scipy import special

EQUIVALENT = "equivalent"
# "not run": too few seeds for an interval.
VERDICTS = ("supported", "contradicted", "inconclusive", "not run")
# Largest relative error of an identity in float64.
TOLERANCE = 1e-9
# Sign flips whose means differ relatively by less than this are ties.
TIE = 100 * np.finfo(float).eps


def interval(effects, confidence):
    """Return the centre of effects, one per seed, and the lower and upper bound of its interval.

    All effects finite: mean and Student's t interval.
    All effects the same infinity: that infinity three times. One condition diverged in every seed, which
    decides the comparison.
    Some effects infinite: median and the interval of the exact binomial test on it, which use only ranks.
    The interval is unbounded if there are too few seeds.
    """
    effects = np.asarray(effects, dtype=float)
    if np.isfinite(effects).all():
        mean, error = effects.mean(), effects.std(ddof=1) / len(effects) ** 0.5
        if error == 0:
            return mean, mean, mean
        tails = np.array([1 - confidence, 1 + confidence]) / 2
        return mean, *(special.stdtrit(len(effects) - 1, tails) * error + mean)
    if (effects == effects[0]).all():
        return effects[0], effects[0], effects[0]
    return np.quantile(effects, 0.5, method="inverted_cdf"), *_median_interval(effects, confidence)


def _median_interval(effects, confidence):
    """Return the k-th smallest and k-th largest effect, the exact interval of the median; ±∞ if k = 0.

    k is the least number with P(at most k of n effects lie below the median) ≥ (1 − confidence) / 2.
    """
    n = len(effects)
    at_most = np.cumsum([math.comb(n, k) for k in range(n + 1)]) / 2**n
    k = np.searchsorted(at_most, (1 - confidence) / 2)
    ordered = [-np.inf, *np.sort(effects), np.inf]
    return ordered[k], ordered[-1 - k]


def sign_flip_p(differences):
    """Return the exact one-sided p value of a sign-flip test of H0: symmetric about 0, H1: mean > 0.

    p is the share of the 2ⁿ sign flips whose mean is at least the observed mean; it is at least 1/2ⁿ.
    If a difference is infinite, the signed ranks of all differences replace the differences.
    """
    differences = np.asarray(differences, dtype=float)
    sizes = np.abs(differences)
    if not np.isfinite(sizes).all():
        differences = np.sign(differences) * _ranks(sizes)
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    # The first sum has no sign flipped. Sums are rounded by the sizes of their terms, however small they are.
    return np.mean(sums >= sums[0] - np.abs(differences).sum() * TIE)


def _ranks(values):
    """Return the rank of each value, the smallest first; equal values share the mean of their ranks."""
    smaller = values[:, None] > values
    equal = values[:, None] == values
    return smaller.sum(axis=1) + (equal.sum(axis=1) + 1) / 2


def boundaries(expected, margin):
    """Return the open interval (low, high) of the effects that support a claim.

    greater        (margin, ∞)
    less           (−∞, −margin)
    not_less       (−margin, ∞)
    not_greater    (−∞, margin)
    equivalent     (−margin, margin)

    An infinite end is no boundary: it includes infinite effects.
    """
    return {
        "greater": (margin, np.inf),
        "less": (-np.inf, -margin),
        "not_less": (-margin, np.inf),
        "not_greater": (-np.inf, margin),
        EQUIVALENT: (-margin, margin),
    }[expected]


def distances(effects, *, expected, margin):
    """Return how far effects lie within each finite boundary of a claim; an equivalence has two."""
    effects = np.asarray(effects, dtype=float)
    low, high = boundaries(expected, margin)
    found = [effects - low] if np.isfinite(low) else []
    return found + ([high - effects] if np.isfinite(high) else [])


def confidence(expected):
    """Return the confidence of a claim's interval: 95 %; 90 % for an equivalence, two tests at 5 %."""
    return 0.90 if expected == EQUIVALENT else 0.95


def assess(effects, *, expected, margin):
    """Return effect, ci_low, ci_high, p_sign_flip and verdict of effects, one per seed.

    supported       the whole interval of the effect lies within the claim's `boundaries`
    contradicted    the whole interval lies beyond one boundary
    inconclusive    neither; an effect on a boundary is neither within nor beyond

    `confidence` gives the confidence of the interval. p_sign_flip tests the distance of the effects from
    the boundary; for an equivalence it is the larger of the two one-sided p values.
    """
    effects = np.asarray(effects, dtype=float)
    lower, upper = boundaries(expected, margin)
    effect, low, high = interval(effects, confidence(expected))
    # An infinite end is no boundary, so an infinite bound of the interval does not cross it.
    supported = (low > lower or np.isneginf(lower)) and (high < upper or np.isposinf(upper))
    contradicted = high < lower or low > upper
    return {
        "effect": effect,
        "ci_low": low,
        "ci_high": high,
        "p_sign_flip": max(map(sign_flip_p, distances(effects, expected=expected, margin=margin))),
        "verdict": "supported" if supported else "contradicted" if contradicted else "inconclusive",
    }


def support(found):
    """Return the number of verdicts that are supported, and the number of all that are not "not run"."""
    judged = [verdict for verdict in found if verdict != "not run"]
    return judged.count("supported"), len(judged)


def holm(p_values):
    """Return p values adjusted by Holm's step-down method (1979), in the same order."""
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted
