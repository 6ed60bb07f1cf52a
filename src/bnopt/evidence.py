"""How strong the evidence on a claim is, beside its verdict: grade, e-value, agreeing seeds, seeds needed.

A verdict compares one interval with one margin. The numbers here adjust for the other claims of a family, or
stay valid whenever one stops adding seeds. An effect is *on the expected side* if its distances from the
boundaries of the claim (`verdicts.distances`) are positive.
"""

import bisect
import math

import numpy as np
from scipy import special

from bnopt import verdicts

LEVEL = 0.05
# `seeds_needed` looks no further.
MOST_SEEDS = 1_000_000
COLUMNS = ("p_opposite", "e_value", "seeds_needed", "seeds_agreeing", "share_agreeing_at_least")


def of_claim(effects, verdict, *, expected, margin):
    """Return the columns COLUMNS of a claim, from one effect per seed and the verdict on them.

    p_opposite, e_value         see the functions of these names
    seeds_needed                see `seeds_needed`; missing unless the verdict is inconclusive
    seeds_agreeing              "k of n": k of the n seeds are on the expected side
    share_agreeing_at_least     `share_at_least` of k and n

    All are missing if the claim is not run.
    """
    if verdict == "not run":
        return dict.fromkeys(COLUMNS, np.nan)
    distances = verdicts.distances(effects, expected=expected, margin=margin)
    agreeing, n = int(np.all(np.array(distances) > 0, axis=0).sum()), len(effects)
    open_ = verdict == "inconclusive"
    return {
        "p_opposite": p_opposite(distances),
        "e_value": min(map(e_value, distances)),
        "seeds_needed": seeds_needed(effects, expected=expected, margin=margin) if open_ else np.nan,
        "seeds_agreeing": f"{agreeing} of {n}",
        "share_agreeing_at_least": share_at_least(agreeing, n),
    }


def of_families(claims):
    """Return a table of claims with the columns that depend on the other claims of the family.

    p_holm, p_opposite_holm     p_sign_flip and p_opposite, adjusted by `verdicts.holm`
    seeds_to_confirm            `seeds_to_confirm` of the number of claims of the family that are run
    grade                       confirmed if the verdict is supported and p_holm ≤ 0.05, refuted if it is
                                contradicted and p_opposite_holm ≤ 0.05; else empty

    Claims that are not run have no p value and do not count; if no claim of a family is run, all count.
    """
    families = claims.groupby("family")
    adjusted = {
        "p_holm": families["p_sign_flip"].transform(_holm),
        "p_opposite_holm": families["p_opposite"].transform(_holm),
    }
    sizes = families["p_sign_flip"].transform(lambda p: p.notna().sum() or len(p))
    claims = claims.assign(**adjusted, seeds_to_confirm=[seeds_to_confirm(int(size)) for size in sizes])
    return claims.assign(grade=[grade(*row) for row in claims[["verdict", *adjusted]].to_numpy()])


def grade(verdict, p_holm, p_opposite_holm):
    """Return confirmed, refuted or an empty text; the p values are adjusted for the claims of the family."""
    if verdict == "supported" and p_holm <= LEVEL:
        return "confirmed"
    return "refuted" if verdict == "contradicted" and p_opposite_holm <= LEVEL else ""


def _holm(p_values):
    """Return the adjusted p values of one family; claims that are not run have none and do not count."""
    adjusted = p_values.copy()
    adjusted[p_values.notna()] = verdicts.holm(p_values.dropna())
    return adjusted


def seeds_to_confirm(claims):
    """Return the smallest number of seeds n with which a family of so many claims can have a confirmed one.

    No sign-flip p is smaller than 1/2ⁿ, so Holm's adjustment leaves at least m/2ⁿ for the smallest of m:
    2ⁿ ≥ 20 m. If all p values are that small, all claims of the family are confirmed.
    """
    return math.ceil(math.log2(round(1 / LEVEL) * claims))


def p_opposite(distances):
    """Return the sign-flip p value of the opposite of a claim.

    H0: the effects are symmetric about the boundary; H1: their mean lies beyond it. It is
    `verdicts.sign_flip_p` of the negated distances. An equivalence has two boundaries; the effects can lie
    beyond either, so p is twice the smaller of both, at most 1.
    """
    return min(1.0, len(distances) * min(verdicts.sign_flip_p(-distance) for distance in distances))


def e_value(distances):
    """Return the e-value of k positive of n distances, one per seed; distances of 0 are dropped.

    E = ∫₀¹ (1+λ)ᵏ (1−λ)ⁿ⁻ᵏ dλ = 2ⁿ⁺¹ P(Bin(n+1, ½) ≤ k) / ((n+1) C(n, k))

    H0: given the seeds before it, a new seed falls on the expected side no more often than on the other.
    Then (1+λ)ᵏ(1−λ)ⁿ⁻ᵏ is a bet against H0 whose expected gain is at most 1 whenever one stops, and so is
    the mean E of these bets (a test martingale; Ville 1939). The chance that E ever reaches 20 is at most
    5 %, even for someone who looks after every seed and stops when it does. A family of m claims needs 20 m.
    H0 is about sides, not about the mean of the effects, nor about their median if some distances are 0.
    The null of an equivalence is that H0 holds at one boundary at least; for it the smaller E is valid.
    """
    k, n = int((distances > 0).sum()), int((distances != 0).sum())
    at_most_k = sum(math.comb(n + 1, i) for i in range(k + 1))
    return at_most_k / ((n + 1) * math.comb(n, k))


def seeds_needed(effects, *, expected, margin):
    """Return the smallest number of seeds at which effects of the same mean and spread decide the claim.

    That is the smallest n with t · s / √n < d: s is the standard deviation of the effects, d the distance of
    their mean from the nearest boundary, t the quantile of Student's t for the claim's interval. The verdict
    is then *supported* if the mean is on the expected side, else *contradicted*. With n new seeds the chance
    of a decision is about one half, since mean and spread vary: this is no power analysis.

    Missing (NaN) if an effect is infinite, the mean lies on a boundary, or a million seeds do not suffice.
    """
    effects = np.asarray(effects, dtype=float)
    if not np.isfinite(effects).all():
        return np.nan
    to_boundaries = verdicts.distances(effects.mean(), expected=expected, margin=margin)
    distance, spread = min(map(abs, to_boundaries)), effects.std(ddof=1)
    quantile = (1 + verdicts.confidence(expected)) / 2

    def decided(n):
        return special.stdtrit(n - 1, quantile) * spread / n**0.5 < distance

    n = bisect.bisect_left(range(MOST_SEEDS), True, lo=2, key=decided)
    return n if n < MOST_SEEDS else np.nan


def share_at_least(agreeing, n):
    """Return a bound p for the share of all seeds that agree, if so many of n independent seeds do.

    It is the lower bound of Clopper and Pearson (1934), one-sided with confidence 95 %: with a smaller share
    than p, so many or more of n agree in less than 5 % of studies; P(Bin(n, p) ≥ agreeing) = 0.05. It is 0 if
    none agrees.
    """
    return float(special.betaincinv(agreeing, n - agreeing + 1, LEVEL)) if agreeing else 0.0
