"""Sentences that follow from verdicts, compared with sentences written by hand."""

import math

import pandas as pd
import pytest

from bnopt import findings, judged


def claim(name, verdict="supported", **more):
    row = {"claim": name, "label": f"50 % of {name}_x", "family": "fig1", "verdict": verdict, "n": 3}
    row |= {"quantity": "q", "compare": "difference", "condition_a": "a", "condition_b": "b"}
    row |= {"expected": "less", "margin": 0.0, "effect": 0.25, "ci_low": 0.125, "ci_high": 0.5}
    return row | {"flips_under": "", "n_diverged": 0, "grade": "", "unit": "difference"} | more


def table(*rows):
    return pd.DataFrame(rows)


def stored(*rows):
    return judged.Stored(claims=table(*rows), images={}, figures=[])


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["supported"], "The claim is supported."),
        (["not run"], "The claim is not run."),
        (["supported"] * 3, "All 3 claims are supported."),
        (["inconclusive", "supported"], "Of 2 claims, 1 is supported and 1 is inconclusive."),
        (
            ["not run", "supported", "contradicted", "supported"],
            "Of 4 claims, 2 are supported, 1 is contradicted and 1 is not run.",
        ),
    ],
)
def test_verdicts_are_counted(verdicts, expected):
    rows = [claim(str(number), verdict) for number, verdict in enumerate(verdicts)]
    assert findings.counted(table(*rows)) == expected


def test_claims_are_called_what_they_are():
    two = table(claim("a"), claim("b"))
    assert findings.counted(two, "headline statements") == "All 2 headline statements are supported."


STABLE = "No other summary of the runs changes a verdict."


def test_few_claims_that_are_not_supported_are_named_with_their_effects():
    ratio = {"unit": "ratio", "effect": math.log(3), "ci_low": 0.0, "ci_high": math.log(5)}
    text = findings.sentences(
        table(
            claim("c", "inconclusive", **ratio),
            claim("a"),
            claim("b", "contradicted", unit="points"),
            claim("d", "inconclusive"),
        ),
        {},
    )
    assert text == (
        "Of 4 claims, 1 is supported, 1 is contradicted and 2 are inconclusive. "
        r"Contradicted: 50 \% of b\_x, \num{25}~points [\num{12.5}, \num{50}]. "
        r"Inconclusive: 50 \% of c\_x, $\times$\,\num{3} [\num{1}, \num{5}]; "
        r"50 \% of d\_x, \num{0.25} [\num{0.125}, \num{0.5}]. " + STABLE
    )


@pytest.mark.parametrize("count", [1, 3, 4])
def test_many_claims_or_all_are_not_named(count):
    others = [claim(str(number), "contradicted") for number in range(count)]
    assert "Contradicted:" not in findings.sentences(table(*others), {})
    assert ("Contradicted:" in findings.sentences(table(claim("a"), *others), {})) == (count <= 3)


def test_grades_and_changed_verdicts_are_counted():
    rows = table(
        claim("a", grade="confirmed", flips_under="median"),
        claim("b", grade="confirmed"),
        claim("c", "contradicted", grade="refuted", flips_under="median;first"),
    )
    assert findings.others(rows, {}) == (
        "After adjustment 2 are confirmed and 1 is refuted. "
        "Another summary of the runs changes 2 verdicts (*)."
    )
    one = table(claim("a", flips_under="median"))
    assert findings.others(one, {}) == "Another summary of the runs changes 1 verdict (*)."


def test_claims_that_are_not_run_have_nothing_that_could_change():
    nothing = {"effect": math.nan, "ci_low": math.nan, "ci_high": math.nan}
    assert findings.sentences(table(claim("a", "not run", **nothing)), {}) == "The claim is not run."


def test_other_scales_are_compared_where_both_judge_the_same():
    here = table(claim("a"), claim("b"), claim("c", "inconclusive"), claim("d"), claim("e", "not run"))
    there = stored(
        claim("a"),
        claim("b", "contradicted"),
        claim("c", "supported"),
        claim("d", margin=0.5),  # defined otherwise
        claim("e"),
        claim("other"),
    )
    text = findings.others(here, {"one-scale": there, "two": stored(claim("a", ci_low=0.6, ci_high=0.7))})
    assert text == (
        STABLE + r" At one-scale, 1 of 3 verdicts is the same, the opposite for: 50 \% of b\_x. "
        "At two, 1 of 1 verdict is the same."
    )
    several = stored(claim("a", "contradicted"), claim("b"), claim("d"), claim("c", "inconclusive"))
    two = table(claim("a"), claim("b", "contradicted"), claim("c", "inconclusive"), claim("d"))
    assert findings.others(two, {"x_y": several}).endswith(
        r"At x\_y, 2 of 4 verdicts are the same, the opposite for: 50 \% of a\_x; 50 \% of b\_x."
    )
    assert findings.others(here, {"none": stored(claim("other"))}) == STABLE


def test_words_are_listed_as_in_a_sentence():
    assert findings.listed(["a"]) == "a"
    assert findings.listed(["a", "b"]) == "a and b"
    assert findings.listed(["a", "b", "c"]) == "a, b and c"
