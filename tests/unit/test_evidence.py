"""Grades, e-values, bounds and seeds needed, against slow second implementations and published numbers."""

import collections
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from bnopt import evidence, verdicts
from bnopt.study import study

INF, NAN = math.inf, math.nan
KINDS = ("greater", "less", "not_less", "not_greater", "equivalent")


def of_claim(effects, *, expected="greater", margin=0.0):
    verdict = verdicts.assess(effects, expected=expected, margin=margin)["verdict"]
    return evidence.of_claim(effects, verdict, expected=expected, margin=margin)


def distances_by_hand(effects, expected, margin):
    """Return the distances of the effects from each boundary, positive on the expected side."""
    above = {"greater": margin, "not_less": -margin, "equivalent": -margin}
    below = {"less": -margin, "not_greater": margin, "equivalent": margin}
    found = [[e - above[expected] for e in effects]] if expected in above else []
    return found + ([[below[expected] - e for e in effects]] if expected in below else [])


def studies(*, infinite=True):
    """Yield effects of 2 to 8 seeds, with ties on the margin 0.5 and with infinities."""
    random = np.random.default_rng(0)
    for n, centre in itertools.product(range(2, 9), (-1.0, -0.5, 0.0, 0.4, 0.6, 2.0)):
        effects = (centre + random.normal(size=n)).tolist()
        yield effects
        yield [0.5, *effects[1:]]
        yield [-0.5, *effects[1:]]
        if infinite:
            yield [INF, *effects[1:]]
            yield [-INF, *effects[1:]]


# -- the opposite ---------------------------------------------------------------------------------


def flips_at_least_as_large(differences):
    seen = math.fsum(differences)
    flips = [
        math.fsum(sign * abs(d) for sign, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(flip >= seen - 1e-12 for flip in flips) / len(flips)


@pytest.mark.parametrize("expected", KINDS)
def test_the_p_of_the_opposite_counts_flips_of_the_negated_distances(expected):
    for effects in studies(infinite=False):
        found = of_claim(effects, expected=expected, margin=0.5)["p_opposite"]
        sides = [[-d for d in of_side] for of_side in distances_by_hand(effects, expected, 0.5)]
        counted = [flips_at_least_as_large(side) for side in sides]
        wanted = counted[0] if len(counted) == 1 else min(1, 2 * min(counted))
        assert found == pytest.approx(wanted, abs=1e-12), effects


def test_the_p_of_the_opposite_is_that_of_the_opposite_claim():
    for effects in studies():
        opposite = verdicts.assess(effects, expected="not_greater", margin=0.5)["p_sign_flip"]
        assert of_claim(effects, expected="greater", margin=0.5)["p_opposite"] == pytest.approx(opposite)


# -- e-value --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(13))
def test_the_e_value_is_its_integral(n):
    for k in range(n + 1):
        distances = np.array([1.0] * k + [-1.0] * (n - k))
        integral, _ = integrate.quad(lambda x, k=k: (1 + x) ** k * (1 - x) ** (n - k), 0, 1)
        assert evidence.e_value(distances) == pytest.approx(integral, rel=1e-9)


@pytest.mark.parametrize("n", [3, 6, 8, 30])
def test_the_e_value_has_a_closed_form(n):
    for k in range(n + 1):
        distances = np.array([2.0] * k + [-3.0] * (n - k))
        closed = 2 ** (n + 1) * stats.binom.cdf(k, n + 1, 0.5) / ((n + 1) * math.comb(n, k))
        assert evidence.e_value(distances) == pytest.approx(closed, rel=1e-9)


@pytest.mark.parametrize(("n", "e"), [(3, 3.75), (6, 18.1), (7, 31.9), (8, 56.8)])
def test_e_values_of_seeds_that_all_agree(n, e):
    assert evidence.e_value(np.ones(n)) == pytest.approx(e, abs=0.05)


def test_ties_are_dropped_and_infinities_have_a_side():
    assert evidence.e_value(np.array([0.0, 1.0, 0.0, -2.0, INF])) == evidence.e_value(np.array([1, 1, -1]))
    assert evidence.e_value(np.zeros(3)) == 1


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_under_the_null_no_rule_of_stopping_raises_the_mean_above_1(share):
    """All sequences of up to 10 seeds; one stops at the first e-value of 3, the worst that one can do."""
    mean, reached = 0.0, 0.0
    for sides in itertools.product((1, -1), repeat=10):
        chance = math.prod(share if side > 0 else 1 - share for side in sides)
        values = [evidence.e_value(np.array(sides[:n])) for n in range(11)]
        stopped = next((value for value in values if value >= 3), values[-1])
        mean += chance * stopped
        reached += chance * (stopped >= 3)
    assert mean <= 1 + 1e-12
    assert 0 < reached <= 1 / 3
    if share == 0.5:  # a fair bet
        assert mean == pytest.approx(1)


@pytest.mark.parametrize("expected", KINDS)
def test_the_e_value_of_a_claim_is_the_smaller_of_its_sides(expected):
    for effects in studies():
        sides = distances_by_hand(effects, expected, 0.5)
        counts = [(sum(d > 0 for d in side), sum(d < 0 for d in side)) for side in sides]
        wanted = min(
            integrate.quad(lambda x, a=a, b=b: (1 + x) ** a * (1 - x) ** b, 0, 1)[0] for a, b in counts
        )
        assert of_claim(effects, expected=expected, margin=0.5)["e_value"] == pytest.approx(wanted)


# -- seeds that agree -----------------------------------------------------------------------------


@pytest.mark.parametrize("expected", KINDS)
def test_seeds_agree_if_their_effects_alone_would_support_the_claim(expected):
    supports = {
        "greater": lambda x: x > 0.5,
        "less": lambda x: x < -0.5,
        "not_less": lambda x: x > -0.5,
        "not_greater": lambda x: x < 0.5,
        "equivalent": lambda x: -0.5 < x < 0.5,
    }[expected]
    for effects in studies():
        agreeing = sum(map(supports, effects))
        found = of_claim(effects, expected=expected, margin=0.5)
        assert found["seeds_agreeing"] == f"{agreeing} of {len(effects)}"
        assert found["share_agreeing_at_least"] == evidence.share_at_least(agreeing, len(effects))


@pytest.mark.parametrize("n", range(1, 21))
def test_the_bound_is_scipys_clopper_pearson(n):
    for agreeing in range(n + 1):
        test = stats.binomtest(agreeing, n, alternative="greater")
        bound = test.proportion_ci(confidence_level=0.95, method="exact").low
        assert evidence.share_at_least(agreeing, n) == pytest.approx(bound, abs=1e-9)


@pytest.mark.parametrize(("agreeing", "n"), [(3, 3), (5, 8), (8, 8), (1, 4)])
def test_with_the_share_of_the_bound_so_many_agree_in_5_percent_of_studies(agreeing, n):
    p = evidence.share_at_least(agreeing, n)
    chance = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(agreeing, n + 1))
    assert chance == pytest.approx(0.05)


@pytest.mark.parametrize(("n", "missed"), [(59, 0), (93, 1), (124, 2)])
def test_wilks_numbers_of_samples_for_95_percent_with_confidence_95_percent(n, missed):
    """Wilks's (1941) tolerance limits of first, second and third order, as used in reactor safety."""
    assert evidence.share_at_least(n - missed, n) >= 0.95
    assert evidence.share_at_least(n - 1 - missed, n - 1) < 0.95


def test_the_bounds_of_three_and_eight_seeds_that_all_agree():
    assert evidence.share_at_least(8, 8) == pytest.approx(0.69, abs=0.005)
    assert evidence.share_at_least(3, 3) == pytest.approx(0.37, abs=0.005)
    assert evidence.share_at_least(0, 3) == 0


# -- seeds needed ---------------------------------------------------------------------------------


def needed_by_search(effects, expected, margin):
    """Return the first n at which Student's interval of the same mean and spread decides the claim."""
    level = 0.90 if expected == "equivalent" else 0.95
    boundaries = {"greater": [margin], "less": [-margin], "not_less": [-margin], "not_greater": [margin]}
    numbers = np.arange(2, 3000)
    scales = np.std(effects, ddof=1) / np.sqrt(numbers)
    intervals = stats.t.interval(level, numbers - 1, loc=np.mean(effects), scale=scales)
    for n, low, high in zip(numbers, *intervals, strict=True):
        if not any(low <= b <= high for b in boundaries.get(expected, [-margin, margin])):
            return n
    return None


@pytest.mark.parametrize("expected", KINDS)
def test_the_seeds_needed_are_found_by_search(expected):
    asked = 0
    for effects in studies(infinite=False):
        found = of_claim(effects, expected=expected, margin=0.5)["seeds_needed"]
        verdict = verdicts.assess(effects, expected=expected, margin=0.5)["verdict"]
        if verdict == "inconclusive":
            wanted = needed_by_search(effects, expected, 0.5)
            assert found == wanted if wanted else found >= 3000
            assert found > len(effects)
            asked += 1
        else:
            assert math.isnan(found)
    assert asked > 30


def test_a_mean_one_standard_deviation_from_the_margin_needs_seven_seeds():
    """Tables of Student's t: 2.571 / √6 is more than 1, 2.447 / √7 less."""
    effects = [1 - 1.0, 1.0, 1 + 1.0]
    assert np.std(effects, ddof=1) == 1
    assert of_claim(effects)["seeds_needed"] == 7


@pytest.mark.parametrize("effects", [[-1.0, 0.0, 1.0], [INF, 1.0, 2.0], [1e-9, 1.0, -1.0]])
def test_no_number_of_seeds_is_named_where_none_decides(effects):
    assert math.isnan(of_claim(effects)["seeds_needed"])


# -- families -------------------------------------------------------------------------------------


def adjusted_naively(p_values):
    """Return Holm's adjusted p values by a loop over the ordered ones."""
    found, largest = {}, 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, (len(p_values) - rank) * p_values[i])
        found[i] = min(1.0, largest)
    return [found[i] for i in range(len(p_values))]


def family(name, *rows):
    """Return the rows of a family: verdict, p_sign_flip, p_opposite."""
    columns = ["verdict", "p_sign_flip", "p_opposite"]
    return [{"family": name} | dict(zip(columns, row, strict=True)) for row in rows]


def test_both_p_values_are_adjusted_within_the_family_among_the_claims_that_are_run():
    random = np.random.default_rng(1)
    rows = {
        name: [("inconclusive", *random.uniform(size=2)) for _ in range(size)]
        for name, size in (("a", 1), ("b", 5), ("c", 12))
    }
    table = [row for name, of in rows.items() for row in family(name, *of, ("not run", NAN, NAN))]
    found = evidence.of_families(pd.DataFrame(table))
    for name, of in rows.items():
        here = found[found["family"] == name]
        assert here["p_holm"].tolist()[:-1] == pytest.approx(adjusted_naively([p for _, p, _ in of]))
        assert here["p_opposite_holm"].tolist()[:-1] == pytest.approx(adjusted_naively([p for *_, p in of]))
        assert here[["p_holm", "p_opposite_holm"]].isna().to_numpy()[-1].all()


def test_a_published_example_of_holms_adjustment():
    """The p values 0.01, 0.04, 0.03, 0.005: 0.005 and 0.01 are rejected at 5 %, the others are not."""
    table = pd.DataFrame(family("a", *(("supported", p, 1.0) for p in (0.01, 0.04, 0.03, 0.005))))
    found = evidence.of_families(table)
    assert found["p_holm"].tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert found["grade"].tolist() == ["confirmed", "", "", "confirmed"]


@pytest.mark.parametrize(
    ("verdict", "p", "opposite", "grade"),
    [
        ("supported", 0.05, 1.0, "confirmed"),
        ("supported", 0.0501, 0.01, ""),
        ("contradicted", 1.0, 0.05, "refuted"),
        ("contradicted", 0.01, 0.0501, ""),
        ("inconclusive", 0.01, 0.01, ""),
        ("not run", NAN, NAN, ""),
    ],
)
def test_grades(verdict, p, opposite, grade):
    found = evidence.of_families(pd.DataFrame(family("a", (verdict, p, opposite))))
    assert found["grade"].tolist() == [grade]


@pytest.mark.parametrize(
    ("claims", "seeds"), [(1, 5), (2, 6), (3, 6), (4, 7), (6, 7), (7, 8), (12, 8), (13, 9)]
)
def test_the_seeds_from_which_on_a_family_can_be_confirmed(claims, seeds):
    assert evidence.seeds_to_confirm(claims) == seeds
    for n in (seeds - 1, seeds):
        best = verdicts.sign_flip_p(np.arange(1.0, n + 1))
        found = evidence.of_families(pd.DataFrame(family("a", *[("supported", best, 1.0)] * claims)))
        assert set(found["grade"]) == ({"confirmed"} if n == seeds else {""})
        assert set(found["seeds_to_confirm"]) == {seeds}


def test_with_the_eight_seeds_of_the_papers_scale_every_claim_can_be_confirmed(config):
    """No family has more than 12 claims; the page of a study and its abstract say eight seeds."""
    of_study = study.written_out(config | {"scale": "paper"})
    sizes = collections.Counter(claim["family"] for claim in of_study["claims"].values())
    assert sum(sizes.values()) > 80
    assert {family: size for family, size in sizes.items() if size > 12} == {}
    assert max(map(evidence.seeds_to_confirm, sizes.values())) == len(of_study["seeds"]) == 8


def test_claims_that_are_not_run_count_only_where_none_is_run():
    run = family("a", *[("supported", 0.1, 0.9)] * 3, *[("not run", NAN, NAN)] * 9)
    none = family("b", *[("not run", NAN, NAN)] * 12)
    found = evidence.of_families(pd.DataFrame(run + none))
    assert found.groupby("family")["seeds_to_confirm"].unique().map(list).to_dict() == {"a": [6], "b": [8]}


def test_a_claim_that_is_not_run_has_no_evidence():
    found = evidence.of_claim([], "not run", expected="greater", margin=0.0)
    assert set(found) == set(evidence.COLUMNS)
    assert all(map(math.isnan, found.values()))
