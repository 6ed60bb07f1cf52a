"""The statistics of a claim: interval, exact p value and verdict, from one effect per seed."""

import numpy as np
from scipy import stats

EQUIVALENT = "equivalent"
# "not run": too few seeds for an interval.
VERDICTS = ("supported", "contradicted", "inconclusive", "not run")
# Largest relative error of an identity in float64.
TOLERANCE = 1e-9


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
    """Return the exact one-sided p value of a sign-flip test of H0: symmetric about 0, H1: mean > 0.

    p is the share of the 2ⁿ sign flips whose mean is at least the observed mean; it is at least 1/2ⁿ.
    If a difference is infinite, the signed ranks of all differences replace the differences.
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


def assess(effects, *, expected, margin):
    """Return effect, ci_low, ci_high, p_sign_flip and verdict of effects, one per seed.

    supported       the whole interval of the effect lies within the claim's `boundaries`
    contradicted    the whole interval lies beyond one boundary
    inconclusive    neither; an effect on a boundary is neither within nor beyond

    The interval has confidence 95 %; for an equivalence 90 %, which is two one-sided tests at 5 %.
    p_sign_flip tests the distance of the effects from the boundary; for an equivalence it is the larger
    of the two one-sided p values.
    """
    effects = np.asarray(effects, dtype=float)
    lower, upper = boundaries(expected, margin)
    effect, low, high = interval(effects, 0.90 if expected == EQUIVALENT else 0.95)
    beyond = [effects - lower] if np.isfinite(lower) else []
    beyond += [upper - effects] if np.isfinite(upper) else []
    # An infinite end is no boundary, so an infinite bound of the interval does not cross it.
    supported = (low > lower or np.isneginf(lower)) and (high < upper or np.isposinf(upper))
    contradicted = high < lower or low > upper
    return {
        "effect": effect,
        "ci_low": low,
        "ci_high": high,
        "p_sign_flip": max(map(sign_flip_p, beyond)),
        "verdict": "supported" if supported else "contradicted" if contradicted else "inconclusive",
    }


def holm(p_values):
    """Return p values adjusted by Holm's step-down method (1979), in the same order."""
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted
