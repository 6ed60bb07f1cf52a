"""The sections about the parts beyond the paper: their numbers and sentences follow the judged claims."""

import math
import re

import pandas as pd
import pytest

from bnopt import part_texts

FAMILIES = {
    "mechanism": ("edge_dln", "edge_vgg", "edge_start", "shift_is_curvature", "propagation"),
    "norms": ("norms", "norms_trained"),
}


def claim(name, family, verdict="supported", **more):
    row = {"claim": name, "label": f"50 % of {name}_x", "family": family, "verdict": verdict}
    row |= {
        "compare": "difference",
        "effect": 0.25,
        "ci_low": 0.125,
        "ci_high": 0.5,
        "condition_a": "vgg_none",
    }
    return row | {"flips_under": "", "n_diverged": 0, "grade": ""} | more


def study(*captions, scale="digits", seeds=(0, 1, 2)):
    conditions = {"vgg_none": {"task": "vgg"}, "deep_linear_none": {"task": "deep_linear"}}
    return {
        "scale": scale,
        "seeds": list(seeds),
        "conditions": conditions,
        "captions": {"fig1": "x"} | dict.fromkeys(captions, "y"),
    }


def sections(*rows, of=None):
    return part_texts.sections(pd.DataFrame([claim("old", "fig1"), *rows]), of or study())


def test_a_study_of_the_paper_alone_has_no_section():
    assert sections() == {}


@pytest.mark.parametrize(("part", "family"), [(part, name) for part, of in FAMILIES.items() for name in of])
def test_a_family_brings_the_section_of_its_part_with_its_table(part, family):
    found = sections(claim("a", family))
    assert list(found) == [part]
    assert found[part].count(r"\section{") == found[part].count(r"\results{") == 1
    assert re.findall(r"\\family\{(\w+)\}", found[part]) == [family]
    assert r"\shown" not in found[part]


@pytest.mark.parametrize(
    ("part", "figure"), [("mechanism", "edge"), ("mechanism", "shift"), ("norms", "norms")]
)
def test_a_figure_brings_the_section_of_its_part_even_without_claims(part, figure):
    found = sections(of=study(figure))
    assert list(found) == [part]
    assert re.findall(r"\\shown\{(\w+)\}\{\}", found[part]) == [figure]
    assert "No claim about it belongs to this study." in found[part]
    assert r"\family" not in found[part]
    assert "verdicts leave" not in found[part]


def test_every_part_stands_once_in_order_with_all_its_topics():
    rows = [claim(family, family) for of in FAMILIES.values() for family in of]
    found = sections(*rows[::-1], of=study("edge", "shift", "norms"))
    assert list(found) == ["mechanism", "norms"]
    for part, families in FAMILIES.items():
        assert tuple(re.findall(r"\\family\{(\w+)\}", found[part])) == families
    assert found["mechanism"].index(r"\shown{edge}") < found["mechanism"].index(r"\shown{shift}")


def test_claims_are_counted_and_listed_with_effect_verdict_and_standing():
    text = sections(
        claim("a", "edge_dln", condition_a="deep_linear_none"),
        claim("b", "edge_vgg", "contradicted", flips_under="median", n_diverged=1),
        claim("c", "edge_vgg", compare="log_ratio", effect=math.log(3), ci_low=0.0, ci_high=math.log(5)),
        claim("d", "edge_start", "not run", effect=math.nan),
        claim("e", "norms", "inconclusive"),
        of=study(scale="paper"),
    )["mechanism"]
    assert "Of 4 claims: 2 supported, 1 contradicted, 1 not run." in text
    effect = r"\num{0.25} [\num{0.125}, \num{0.5}]"
    assert [line for line in text.splitlines() if line.startswith(r"\item")] == [
        rf"\item 50 \% of a\_x: {effect}, \emph{{supported}} (exploratory)",
        rf"\item 50 \% of b\_x: {effect}, \emph{{contradicted*\textdagger}} (confirmatory)",
        r"\item 50 \% of c\_x: $\times$\,\num{3} [\num{1}, \num{5}], \emph{supported} (confirmatory)",
        r"\item 50 \% of d\_x: --, \emph{not run} (confirmatory)",
    ]


@pytest.mark.parametrize("topic", [topic for of in part_texts.TOPICS.values() for topic in of])
@pytest.mark.parametrize(
    ("verdicts", "follows"),
    [
        (["supported", "supported"], "supported"),
        (["supported", "contradicted"], "contradicted"),
        (["inconclusive", "contradicted"], "contradicted"),
        (["supported", "inconclusive"], "open"),
        (["not run"], "open"),
    ],
)
def test_what_follows_depends_on_the_verdicts(topic, verdicts, follows):
    rows = pd.DataFrame([claim(str(i), topic.families[-1], word) for i, word in enumerate(verdicts)])
    text = part_texts.topic_text(topic, rows, study())
    sentences = {
        "supported": topic.supported.strip(),
        "contradicted": topic.contradicted.strip(),
        "open": "The verdicts leave the question open.",
    }
    assert [name for name, sentence in sentences.items() if sentence in text] == [follows]
    assert topic.measured.strip() in text
    assert text.endswith(topic.limits.strip())


@pytest.mark.parametrize(
    ("condition", "scale", "seeds", "expected"),
    [
        ("vgg_none", "digits", [5, 6], "exploratory"),
        ("vgg_none", "cifar10-small", [0, 1], "confirmatory"),
        ("all_norms", "digits", [0], "exploratory"),
        ("all_norms", "paper", [0], "confirmatory"),
        ("deep_linear_none", "paper", [0, 1], "exploratory"),
        ("deep_linear_none", "digits", [3, 4, 5], "confirmatory"),
        ("deep_linear_none", "paper", [0, 1, 2, 3, 4, 5, 6, 7], "exploratory at 3 of 8 seeds"),
        ("deep_linear_none", "paper", [2, 9], "exploratory at 1 of 2 seeds"),
    ],
)
def test_what_prototypes_had_shown_is_exploratory(condition, scale, seeds, expected):
    row = claim("a", "edge_dln", condition_a=condition)
    assert part_texts.standing(row, study(scale=scale, seeds=seeds)) == expected


def test_no_text_holds_a_number_of_a_result():
    """Only constants of the mathematics and years of citations are typed."""
    for topic in (topic for of in part_texts.TOPICS.values() for topic in of):
        words = " ".join((topic.measured, topic.supported, topic.contradicted, topic.limits))
        cited = re.sub(r"\((?:Cohen|Andreyev)[^)]*\)|Definition~2\.1", "", words)
        assert set(re.findall(r"\d+(?:\.\d+)?", cited)) <= {"1", "2"}
