"""The statistics of a claim: interval, exact p and verdict of one number per seed."""

import numpy as np
from scipy import stats

# expected -> (sign of the side that supports, sign of the margin): supported if
# side * effect > side * boundary, with boundary = sign * margin.
SIDES = {
    "greater": (+1, +1),
    "less": (-1, -1),
    "not_less": (+1, -1),
    "not_greater": (-1, +1),
}
EXPECTATIONS = (*SIDES, "equivalent")
# The last where there are too few seeds for an interval.
VERDICTS = ("supported", "contradicted", "inconclusive", "not run")
# The largest relative error of what is an identity, in float64.
TOLERANCE = 1e-9


def interval(effects, confidence):
    """Return mean and interval of effects, one per seed.

    Finite effects: Student's t. If all are the same infinity it is effect and both bounds: one side
    diverged in every seed, which decides the comparison. If some are infinite, effects enter by
    rank: the median, with the interval of the exact binomial test on it, unbounded where n is too
    small for one.
    """
    effects = np.asarray(effects, dtype=float)
    if np.isfinite(effects).all():
        mean, error = effects.mean(), stats.sem(effects)
        if error == 0:
            return mean, mean, mean
        return mean, *stats.t.interval(confidence, len(effects) - 1, loc=mean, scale=error)
    if (effects == effects[0]).all():
        return effects[0], effects[0], effects[0]
    bounds = stats.quantile_test(effects).confidence_interval(confidence)
    low, high = np.nan_to_num(bounds, nan=[-np.inf, np.inf], posinf=np.inf, neginf=-np.inf)
    return np.quantile(effects, 0.5, method="inverted_cdf"), low, high


def sign_flip_p(differences):
    """Return the exact one-sided p of a sign-flip test of H0: symmetric about 0, H1: mean > 0.

    The share of the 2ⁿ ways of flipping signs whose mean is at least the one seen; its floor is 1/2ⁿ.
    Where a difference is infinite, signed ranks of their sizes take the differences' place.
    """
    differences = np.asarray(differences, dtype=float)
    if not np.isfinite(differences).all():
        differences = np.sign(differences) * stats.rankdata(np.abs(differences))
    test = stats.permutation_test(
        (differences,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=np.inf,
    )
    return test.pvalue


def assess(effects, *, expected, margin):
    """Return effect, ci_low, ci_high, p_sign_flip and verdict of effects, one per seed.

    A direction is *supported* where the 95 % interval lies wholly beyond the margin on the expected
    side, *contradicted* where wholly on the other. An equivalence is supported where the 90 %
    interval (two one-sided tests at 5 %) lies within ± margin, contradicted where wholly outside.
    Otherwise *inconclusive*. p is that of the margin-shifted effects; for an equivalence the larger
    of the two one-sided.
    """
    effects = np.asarray(effects, dtype=float)
    if expected == "equivalent":
        effect, low, high = interval(effects, 0.90)
        p = max(sign_flip_p(effects + margin), sign_flip_p(margin - effects))
        supported = -margin < low and high < margin
        contradicted = high < -margin or low > margin
    else:
        side, sign = SIDES[expected]
        boundary = sign * margin
        effect, low, high = interval(effects, 0.95)
        p = sign_flip_p(side * (effects - boundary))
        near, far = sorted((side * (low - boundary), side * (high - boundary)))
        supported, contradicted = near > 0, far < 0
    verdict = "supported" if supported else "contradicted" if contradicted else "inconclusive"
    return {
        "effect": effect,
        "ci_low": low,
        "ci_high": high,
        "p_sign_flip": p,
        "verdict": verdict,
    }


def holm(p_values):
    """Return p values adjusted for their number by Holm's step-down method (1979), in the same order."""
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted
