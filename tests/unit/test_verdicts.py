"""Intervals, exact p values and verdicts, against enumeration and literal definitions."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

from bnopt import verdicts

INF, NAN = math.inf, math.nan
# The effects x that support a claim, and those that contradict it.
SUPPORTS = {
    "greater": lambda x, margin: x > margin,
    "less": lambda x, margin: x < -margin,
    "not_less": lambda x, margin: x > -margin,
    "not_greater": lambda x, margin: x < margin,
    "equivalent": lambda x, margin: -margin < x < margin,
}
CONTRADICTS = {
    "greater": lambda x, margin: x < margin,
    "less": lambda x, margin: x > -margin,
    "not_less": lambda x, margin: x < -margin,
    "not_greater": lambda x, margin: x > margin,
    "equivalent": lambda x, margin: x < -margin or x > margin,
}
EXPECTATIONS = tuple(SUPPORTS)


# -- interval -------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.95, 0.9])
@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_interval_of_finite_effects_is_students_t(n, confidence):
    effects = np.random.default_rng(n).normal(1, 2, size=n).tolist()
    mean = math.fsum(effects) / n
    error = math.sqrt(math.fsum((e - mean) ** 2 for e in effects) / (n - 1) / n)
    quantile = stats.t.ppf((1 + confidence) / 2, n - 1)
    expected = (mean, mean - quantile * error, mean + quantile * error)
    assert verdicts.interval(effects, confidence) == pytest.approx(expected)


def test_interval_of_equal_effects_is_a_point():
    assert verdicts.interval([0.25, 0.25, 0.25], 0.95) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [2, 3, 8])
def test_interval_is_an_infinity_if_one_condition_diverged_in_every_seed(n, sign):
    assert verdicts.interval([sign * INF] * n, 0.95) == (sign * INF,) * 3


def binomial_interval(effects, confidence):
    """Return the order statistics beyond which each tail of the binomial has at most its share."""
    ordered, n = sorted(effects), len(effects)
    tail = (1 - confidence) / 2
    # P(fewer than k of n below the median) <= tail leaves the k-th smallest as a lower bound.
    below = [sum(math.comb(n, i) for i in range(k)) / 2**n for k in range(n + 1)]
    k = max(k for k in range(n + 1) if below[k] <= tail)
    if k == 0:
        return -INF, INF
    return ordered[k - 1], ordered[n - k]


@pytest.mark.parametrize("confidence", [0.95, 0.9])
@pytest.mark.parametrize(
    "effects",
    [
        [INF, 1.0, 2.0],
        [INF, INF, 1.0],
        [-INF, 1.0, 2.0, 3.0, INF],
        [4.0, INF, 1.0, 3.0, 2.0, 7.0],
        [INF, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        [INF, INF, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        [-INF, INF, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        [-INF, -INF, -INF, -INF, -INF, -INF, -INF, 1.0],
    ],
)
def test_interval_with_some_infinite_effects_is_that_of_the_median_by_rank(effects, confidence):
    effect, low, high = verdicts.interval(effects, confidence)
    assert (low, high) == binomial_interval(effects, confidence)
    at_most, at_least = sum(e <= effect for e in effects), sum(e >= effect for e in effects)
    assert min(at_most, at_least) >= len(effects) / 2
    assert effect in effects


# -- sign flips -----------------------------------------------------------------------------------


def p_by_enumeration(differences):
    if not all(map(math.isfinite, differences)):
        sizes = [abs(d) for d in differences]
        ranks = [
            sum(other < size for other in sizes) + (1 + sum(other == size for other in sizes)) / 2
            for size in sizes
        ]
        differences = [math.copysign(rank, d) if d else 0 for rank, d in zip(ranks, differences, strict=True)]
    seen = math.fsum(differences)
    flips = [
        math.fsum(sign * abs(d) for sign, d in zip(signs, differences, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    return sum(flip >= seen - 1e-12 for flip in flips) / len(flips)


@pytest.mark.parametrize("n", range(2, 9))
@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.4, 3.0])
def test_sign_flip_p_is_the_share_of_flips_at_least_as_large(n, shift):
    differences = (np.random.default_rng(n).normal(size=n) + shift).tolist()
    assert verdicts.sign_flip_p(differences) == pytest.approx(p_by_enumeration(differences), abs=1e-12)


@pytest.mark.parametrize("n", range(2, 9))
def test_sign_flip_p_has_the_floor_one_in_two_to_the_n(n):
    assert verdicts.sign_flip_p([1.0 + 0.1 * i for i in range(n)]) == 0.5**n
    assert verdicts.sign_flip_p([-1.0 - 0.1 * i for i in range(n)]) == 1


@pytest.mark.parametrize(
    "differences",
    [
        *([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [1.0, -1.0, 2.0, -2.0], [0.125, 0.25, -0.375]),
        # Effects that nearly cancel: rounding of the sums is as large as the sum.
        [-0.1, -0.7, 0.8, -0.2, 0.0, 0.0, -0.1, 0.3],
        [
            *(0.66738235, 0.23882641, 1.21415504, -0.47902636),
            *(0.36605395, -0.74497333, -0.61595868, -0.6435056),
        ],
    ],
)
def test_ties_count_as_at_least_as_large(differences):
    assert verdicts.sign_flip_p(differences) == pytest.approx(p_by_enumeration(differences), abs=1e-12)


@pytest.mark.parametrize(
    "differences",
    [
        [INF, INF, INF],
        [-INF, -INF, -INF],
        [INF, 1.0, -2.0, 3.0],
        [-INF, 1.0, 2.0, 3.0],
        [INF, -INF, 1.0, 2.0, 0.5],
        [INF, INF, -1.0, -2.0, 0.0, 3.0],
    ],
)
def test_infinite_differences_enter_by_rank(differences):
    assert verdicts.sign_flip_p(differences) == pytest.approx(p_by_enumeration(differences), abs=1e-12)


# -- scipy ----------------------------------------------------------------------------------------


def seeds(*, infinite=False):
    """Yield effects of 2 to 9 seeds, with and without ties."""
    random = np.random.default_rng(0)
    for n, width in itertools.product(range(2, 10), (1e-9, 1.0, 1e6)):
        effects = random.normal(size=n) * width
        for found in (effects, np.round(effects / width, 1), random.integers(-3, 4, size=n) * 1.0):
            if infinite:
                found[random.integers(n)] = random.choice([INF, -INF])
            yield found


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_is_that_of_scipy_to_the_last_digit(confidence):
    for effects in seeds():
        error = stats.sem(effects)
        if error:
            interval = stats.t.interval(confidence, len(effects) - 1, loc=effects.mean(), scale=error)
            assert verdicts.interval(effects, confidence) == (effects.mean(), *interval)
    for effects in seeds(infinite=True):
        interval = stats.quantile_test(effects).confidence_interval(confidence)
        bounds = np.nan_to_num(interval, nan=[-INF, INF], posinf=INF, neginf=-INF)
        assert verdicts.interval(effects, confidence)[1:] == tuple(bounds)


def test_the_sign_flip_p_is_that_of_scipy_to_the_last_digit():
    for effects in itertools.chain(seeds(), seeds(infinite=True)):
        finite = np.isfinite(effects).all()
        values = effects if finite else np.sign(effects) * stats.rankdata(np.abs(effects))
        test = stats.permutation_test(
            (values,), np.mean, permutation_type="samples", alternative="greater", n_resamples=INF
        )
        assert verdicts.sign_flip_p(effects) == test.pvalue


# -- verdicts -------------------------------------------------------------------------------------

NARROW = np.array([-0.01, 0.0, 0.01])  # its interval at 95 %: the centre ± 0.0248
WIDE = np.array([-1.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("expected", "margin", "supported", "contradicted", "undecided"),
    [
        ("greater", 0.0, 0.05, -0.05, 0.01),
        ("greater", 0.1, 0.15, 0.05, 0.11),
        ("less", 0.0, -0.05, 0.05, -0.01),
        ("less", 0.1, -0.15, -0.05, -0.11),
        ("not_less", 0.0, 0.05, -0.05, -0.01),
        ("not_less", 0.1, -0.05, -0.15, -0.11),
        ("not_greater", 0.0, -0.05, 0.05, 0.01),
        ("not_greater", 0.1, 0.05, 0.15, 0.11),
        ("equivalent", 0.1, 0.05, 0.15, 0.1),
        ("equivalent", 0.1, -0.05, -0.15, -0.1),
    ],
)
def test_each_kind_of_claim_is_supported_contradicted_or_open(
    expected, margin, supported, contradicted, undecided
):
    def verdict(effects):
        return verdicts.assess(effects, expected=expected, margin=margin)["verdict"]

    assert verdict(NARROW + supported) == "supported"
    assert verdict(NARROW + contradicted) == "contradicted"
    assert verdict(NARROW + undecided) == "inconclusive"
    for centre in (supported, contradicted, undecided):
        assert verdict(WIDE + centre) == "inconclusive"


def test_the_kinds_of_claims_that_the_configuration_allows_have_boundaries():
    schema = (Path(__file__).parents[2] / "workflow" / "config.schema.yaml").read_text(encoding="utf-8")
    (allowed,) = {tuple(kinds) for kinds in values_of(yaml.safe_load(schema), "expected")}
    assert set(allowed) == set(EXPECTATIONS)
    for expected in allowed:
        low, high = verdicts.boundaries(expected, 0.5)
        assert low < high
    with pytest.raises(KeyError):
        verdicts.boundaries("larger", 0.5)


def values_of(node, key):
    """Yield the `enum` of every property `key` in a schema."""
    if isinstance(node, dict):
        if "enum" in node.get(key, {}):
            yield node[key]["enum"]
        for value in node.values():
            yield from values_of(value, key)


@pytest.mark.parametrize("margin", [0.0, 0.1, math.log(2), 3.0])
@pytest.mark.parametrize("expected", EXPECTATIONS)
def test_boundaries_enclose_exactly_the_effects_that_support_a_claim(expected, margin):
    low, high = verdicts.boundaries(expected, margin)
    near = [sign * margin + nudge for sign in (-1, 1) for nudge in (-1e-9, 0.0, 1e-9)]
    for x in [-1e300, *np.linspace(-5, 5, 41), *near, 0.0, 1e300]:
        assert (low < x < high) == SUPPORTS[expected](x, margin), x
    # An infinite end includes infinite effects.
    assert (low == -INF) == SUPPORTS[expected](-INF, margin)
    assert (high == INF) == SUPPORTS[expected](INF, margin)


def interval_by_definition(effects, confidence):
    """Return the interval of effects by the formulas of its three cases."""
    n = len(effects)
    if set(map(math.isinf, effects)) == {False}:
        mean = math.fsum(effects) / n
        error = math.sqrt(math.fsum((e - mean) ** 2 for e in effects) / (n - 1) / n)
        half = stats.t.ppf((1 + confidence) / 2, n - 1) * error
        return mean - half, mean + half
    if len(set(effects)) == 1:
        return effects[0], effects[0]
    return binomial_interval(effects, confidence)


def verdict_by_definition(effects, expected, margin):
    """Return the verdict on the points of the interval: its ends, those on a boundary, and those between."""
    low, high = interval_by_definition(effects, 0.90 if expected == "equivalent" else 0.95)
    points = [x for x in (low, -margin, 0.0, margin, high) if low <= x <= high]
    points += [(a + b) / 2 for a, b in itertools.pairwise(points) if math.isfinite(a + b)]
    if all(SUPPORTS[expected](x, margin) for x in points):
        return "supported"
    if all(CONTRADICTS[expected](x, margin) for x in points):
        return "contradicted"
    return "inconclusive"


def many_effects():
    """Yield effects of 2 to 8 seeds: narrow and wide, near every boundary, with and without infinities."""
    random = np.random.default_rng(0)
    for n, centre, width in itertools.product((2, 3, 6, 8), np.linspace(-1.5, 1.5, 7), (0.01, 0.3, 3.0)):
        effects = (centre + width * random.normal(size=n)).tolist()
        yield effects
        for infinite in ([INF], [-INF], [INF, INF], [INF, -INF]):
            yield [*infinite, *effects[len(infinite) :]]
    for n, value in itertools.product(range(2, 9), (-INF, INF, -0.5, 0.0, 0.5)):
        yield [value] * n


@pytest.mark.parametrize(
    ("expected", "margin"),
    [*itertools.product(EXPECTATIONS, [0.5]), *((e, 0.0) for e in EXPECTATIONS if e != "equivalent")],
)
def test_verdicts_are_those_of_a_literal_reading_of_the_definitions(monkeypatch, expected, margin):
    monkeypatch.setattr(verdicts, "sign_flip_p", lambda _: NAN)  # slow, and no verdict depends on it
    seen = {}
    for effects in many_effects():
        found = verdicts.assess(effects, expected=expected, margin=margin)["verdict"]
        assert found == verdict_by_definition(effects, expected, margin), effects
        infinite = "all" if all(map(math.isinf, effects)) else "some" if INF in map(abs, effects) else "none"
        seen.setdefault(infinite, set()).add(found)
    every = {"supported", "contradicted", "inconclusive"}
    assert seen["none"] == every
    # Two different infinities leave the interval unbounded; equal ones decide every direction.
    assert {"contradicted", "inconclusive"} <= seen["all"]
    assert "inconclusive" in seen["some"]
    if expected != "equivalent":
        assert seen["all"] == seen["some"] == every


@pytest.mark.parametrize("expected", EXPECTATIONS)
def test_an_effect_on_the_boundary_decides_nothing(expected):
    low, high = verdicts.boundaries(expected, 0.5)
    for boundary in (low, high):
        if math.isfinite(boundary):
            found = verdicts.assess([boundary] * 3, expected=expected, margin=0.5)
            assert found["verdict"] == "inconclusive"


@pytest.mark.parametrize("expected", EXPECTATIONS)
def test_an_effect_a_hair_within_and_beyond_its_boundary(expected):
    """The verdict changes exactly where the interval touches the margin."""
    confidence = 0.90 if expected == "equivalent" else 0.95
    half = stats.t.ppf((1 + confidence) / 2, 2) * 0.01 / math.sqrt(3)
    margin = 0.1
    # The centre at which the interval touches the boundary, and the direction of the supporting side.
    edge, side = {
        "greater": (margin + half, 1),
        "less": (-margin - half, -1),
        "not_less": (-margin + half, 1),
        "not_greater": (margin - half, -1),
        "equivalent": (margin - half, -1),
    }[expected]
    for nudge, verdict in ((1e-6, "supported"), (-1e-6, "inconclusive")):
        found = verdicts.assess(NARROW + edge + side * nudge, expected=expected, margin=margin)
        assert found["verdict"] == verdict


def test_directions_have_95_percent_intervals_and_equivalence_90():
    effects = [0.1, 0.3, 0.2, 0.5]
    for expected in EXPECTATIONS:
        found = verdicts.assess(effects, expected=expected, margin=0.7)
        interval = stats.t.interval(
            0.90 if expected == "equivalent" else 0.95, 3, loc=np.mean(effects), scale=stats.sem(effects)
        )
        assert (found["ci_low"], found["ci_high"]) == pytest.approx(interval)
        assert found["effect"] == pytest.approx(0.275)


def test_p_is_that_of_the_distances_from_the_boundaries():
    effects = [0.1, 0.3, -0.2, 0.5, 0.05]
    distances = {
        "greater": [[e - 0.1 for e in effects]],
        "less": [[-0.1 - e for e in effects]],
        "not_less": [[e + 0.1 for e in effects]],
        "not_greater": [[0.1 - e for e in effects]],
        "equivalent": [[e + 0.1 for e in effects], [0.1 - e for e in effects]],
    }
    found = {
        expected: verdicts.assess(effects, expected=expected, margin=0.1)["p_sign_flip"]
        for expected in EXPECTATIONS
    }
    for expected, p in found.items():
        assert p == pytest.approx(max(p_by_enumeration(d) for d in distances[expected]), abs=1e-12)
    assert len(set(found.values())) >= 4


@pytest.mark.parametrize("n", [2, 3, 8])
def test_a_comparison_in_which_one_side_always_diverged_is_decided(n):
    worse, better = [INF] * n, [-INF] * n
    for expected, margin in (("less", 0.0), ("less", 0.7), ("not_greater", 0.7)):
        found = verdicts.assess(better, expected=expected, margin=margin)
        assert found["verdict"] == "supported"
        assert found["p_sign_flip"] == 0.5**n
        assert (found["effect"], found["ci_low"], found["ci_high"]) == (-INF,) * 3
        found = verdicts.assess(worse, expected=expected, margin=margin)
        assert found["verdict"] == "contradicted"
        assert found["p_sign_flip"] == 1
    for expected in ("greater", "not_less"):
        assert verdicts.assess(worse, expected=expected, margin=0.7)["verdict"] == "supported"
        assert verdicts.assess(better, expected=expected, margin=0.7)["verdict"] == "contradicted"
    for effects in (worse, better):
        assert verdicts.assess(effects, expected="equivalent", margin=0.7)["verdict"] == "contradicted"


@pytest.mark.parametrize("expected", EXPECTATIONS)
@pytest.mark.parametrize("effects", [[INF, 3.0, 4.0], [INF, INF, -4.0], [-INF, -3.0, -2.0], [-INF, INF, 0.0]])
def test_three_seeds_some_of_them_infinite_decide_nothing(expected, effects):
    found = verdicts.assess(effects, expected=expected, margin=0.5)
    assert found["verdict"] == "inconclusive"
    assert (found["ci_low"], found["ci_high"]) == (-INF, INF)


def test_eight_seeds_with_one_infinite_can_decide():
    effects = [INF, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6]
    assert verdicts.assess(effects, expected="greater", margin=1.0)["verdict"] == "supported"
    assert verdicts.assess(effects, expected="less", margin=0.0)["verdict"] == "contradicted"
    assert verdicts.assess(effects, expected="greater", margin=2.05)["verdict"] == "inconclusive"


# -- Holm -----------------------------------------------------------------------------------------


def closed_testing(p_values):
    """Return adjusted p values: the largest Bonferroni p value of all sets that contain the hypothesis."""
    n = len(p_values)
    subsets = [s for size in range(1, n + 1) for s in itertools.combinations(range(n), size)]
    return [
        min(1, max(len(s) * min(p_values[i] for i in s) for s in subsets if hypothesis in s))
        for hypothesis in range(n)
    ]


@pytest.mark.parametrize("n", range(1, 6))
@pytest.mark.parametrize("scale", [0.02, 0.3, 1.0])
def test_holm_is_closed_testing_with_bonferroni(n, scale):
    for seed in range(20):
        p_values = (np.random.default_rng(seed).uniform(size=n) * scale).tolist()
        assert verdicts.holm(p_values).tolist() == pytest.approx(closed_testing(p_values))


@pytest.mark.parametrize("p_values", [[0.125] * 4, [0.5, 0.5, 0.01], [1.0, 0.0], [0.04, 0.01, 0.04, 0.03]])
def test_holm_with_ties(p_values):
    assert verdicts.holm(p_values).tolist() == pytest.approx(closed_testing(p_values))


def test_holm_of_none_is_none():
    assert verdicts.holm([]).tolist() == []


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["supported", "not run", "contradicted", "supported"], (2, 3)),
        (["not run"], (0, 0)),
        ([], (0, 0)),
    ],
)
def test_support_is_counted_among_the_verdicts_that_were_run(found, expected):
    assert verdicts.support(found) == expected
