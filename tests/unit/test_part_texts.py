"""The sections about the parts beyond the paper: their numbers and sentences follow the judged claims."""

import math
import re

import pandas as pd
import pytest

from bnopt import part_texts
from bnopt.latex import escape
from bnopt.study import study as study_module

FAMILIES = {
    "mechanism": ("edge_dln", "edge_vgg", "edge_start", "shift_is_curvature", "propagation"),
    "norms": ("norms", "norms_trained"),
}


def claim(name, family, verdict="supported", **more):
    row = {"claim": name, "label": f"50 % of {name}_x", "family": family, "verdict": verdict}
    row |= {
        "unit": "difference",
        "effect": 0.25,
        "ci_low": 0.125,
        "ci_high": 0.5,
        "condition_a": "vgg_none",
    }
    return row | {"flips_under": "", "n_diverged": 0, "grade": "", "diverged": ""} | more


def study(*captions, scale="digits", seeds=(0, 1, 2)):
    conditions = {
        "vgg_none": {"task": "vgg", "norm": "none", "lr": 0.5},
        "deep_linear_none": {"task": "deep_linear", "norm": "none", "lr": 1e-6},
    }
    return {
        "scale": scale,
        "seeds": list(seeds),
        "conditions": conditions,
        "captions": {"fig1": "x"} | dict.fromkeys(captions, "y"),
    }


def sections(*rows, of=None, alternatives=()):
    judged = pd.DataFrame([claim("old", "fig1"), *rows])
    others = pd.DataFrame([claim("old reading", "alternatives"), *alternatives])
    return part_texts.sections(pd.concat([judged, others]), of or study())


UNITS = ("smooths_loss_times_weights", "smooths_gradients_times_weights", "smooths_beta_times_weights")


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
        claim("a", "edge_vgg", condition_a="deep_linear_none"),
        claim("b", "edge_vgg", "contradicted", flips_under="median", n_diverged=1, grade="refuted"),
        claim("c", "edge_vgg", unit="ratio", effect=math.log(3), ci_low=0.0, ci_high=math.log(5)),
        claim("d", "edge_vgg", "not run", effect=math.nan),
        claim("e", "norms", "inconclusive"),
        of=study(scale="paper"),
    )["mechanism"]
    assert "Of 4 claims: 2 supported, 1 contradicted, 1 not run." in text
    effect = r"\num{0.25} [\num{0.125}, \num{0.5}]"
    assert [line for line in text.splitlines() if line.startswith(r"\item")] == [
        rf"\item 50 \% of a\_x: {effect}, \emph{{supported}} (exploratory)",
        rf"\item 50 \% of b\_x: {effect}, \emph{{\textbf{{contradicted}}*\textdagger}} (confirmatory)",
        r"\item 50 \% of c\_x: $\times$\,\num{3} [\num{1}, \num{5}], \emph{supported} (confirmatory)",
        r"\item 50 \% of d\_x: --, \emph{not run} (confirmatory)",
    ]


def test_families_have_texts_of_their_own():
    text = sections(
        claim("a", "edge_dln"), claim("b", "edge_vgg", "contradicted"), claim("c", "edge_start", "not run")
    )["mechanism"]
    assert re.findall(r"Of 1 claims \(\w+\): 1 (\w+ ?\w+)\.", text) == [
        "supported",
        "contradicted",
        "not run",
    ]
    dln, vgg, start = part_texts.EDGE.families
    assert text.index(dln.supported.strip()) < text.index(r"\family{edge_dln}")
    assert text.index(vgg.contradicted.strip()) < text.index(r"\family{edge_vgg}")
    assert text.count("The verdicts leave the question open.") == 1
    assert text.index("The verdicts leave the question open.") < text.index(r"\family{edge_start}")
    assert text.count(part_texts.EDGE.limits.strip()) == 1
    assert start.contradicted.strip() not in text


def test_conditions_with_diverged_runs_are_named_once():
    found = sections(
        claim("a", "norms", n_diverged=3, diverged="vgg_none"),
        claim("b", "norms", n_diverged=4, diverged="vgg_none;deep_linear_none"),
        claim("c", "norms_trained"),
    )["norms"]
    assert found.count("A dagger marks") == 1
    millionth = r"10\textsuperscript{$-$}\textsuperscript{6}"
    named = f"VGG, no norm, rate 0.5; deep linear network, no norm, rate {millionth}"
    assert f"A dagger marks claims with diverged runs, here of: {named}." in found
    assert found.index("A dagger marks") < found.index("Of 1 claims")
    assert "A dagger marks" not in sections(claim("a", "norms"))["norms"]


def test_units_are_judged_by_three_alternatives_without_a_table():
    # The table of alternatives has a missing number where that of the claims has an empty text.
    rows = [claim(name, "alternatives", "supported", flips_under=math.nan) for name in UNITS]
    found = sections(alternatives=rows, of=study(scale="paper"))
    assert list(found) == ["mechanism"]
    text = found["mechanism"]
    assert "Of 3 claims (exploratory): 3 supported." in text
    assert text.count(r"\emph{supported}") == 3
    assert r"\family" not in text
    assert "old" not in text
    assert part_texts.UNITS.families[0].supported.strip() in text
    judged = sections(*(claim(name, "fig4") for name in UNITS))
    assert judged == {}


FAMILIES_OF_TOPICS = [
    (topic, family) for of in part_texts.TOPICS.values() for topic in of for family in topic.families
]


@pytest.mark.parametrize(
    ("topic", "family"), FAMILIES_OF_TOPICS, ids=[family.name for _, family in FAMILIES_OF_TOPICS]
)
@pytest.mark.parametrize(
    ("verdicts", "follows"),
    [
        (["supported", "supported"], "supported"),
        (["supported", "contradicted"], "contradicted"),
        (["inconclusive", "contradicted"], "contradicted"),
        (["supported", "inconclusive"], "partly"),
        (["inconclusive", "not run"], "open"),
        (["not run"], "open"),
    ],
)
def test_what_follows_depends_on_the_verdicts(topic, family, verdicts, follows):
    names = family.only or [str(i) for i in range(len(verdicts))]
    rows = [claim(name, family.name, word) for name, word in zip(names, verdicts, strict=False)]
    text = part_texts.topic_text(topic, pd.DataFrame(rows), study())
    sentences = {
        "supported": family.supported.strip(),
        "contradicted": family.contradicted.strip(),
        "partly": "No claim is contradicted, but not all are supported:",
        "open": "The verdicts leave the question open.",
    }
    assert [name for name, sentence in sentences.items() if sentence in text] == [follows]
    assert topic.measured.strip() in text
    assert text.endswith(topic.limits.strip())


def test_every_claim_beyond_the_paper_stands_in_its_section(config):
    """The families and alternatives of the two parts are those of claims.yaml."""
    found = study_module.written_out(config | {"parts": "all"})
    paper = study_module.written_out(config)
    more = {name: of for name, of in found["claims"].items() if name not in paper["claims"]}
    rows = [claim(name, of["family"]) | {"label": name} for name, of in more.items()]
    others = [name for name in found["alternatives"] if name not in paper["alternatives"]]
    texts = sections(*rows, alternatives=[claim(name, "alternatives") | {"label": name} for name in others])
    listed = re.findall(r"\\item (\S+):", "".join(texts.values()))
    assert sorted(listed) == sorted(escape(name) for name in [*more, *others])
    assert len(more) > 40


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
    text = sections(row, of=study(scale=scale, seeds=seeds))["mechanism"]
    assert f"Of 1 claims ({expected}): " in text


def test_no_text_holds_a_number_of_a_result():
    """Only constants of the mathematics and years of citations are typed."""
    for topic in (topic for of in part_texts.TOPICS.values() for topic in of):
        follows = [text for family in topic.families for text in (family.supported, family.contradicted)]
        words = " ".join((topic.measured, *follows, topic.limits, topic.about_table))
        cited = re.sub(
            r"\((?:Cohen|Andreyev|Yang)[^)]*\)|Definition~2\.1|Figure~10\(c\)|Theorem~8", "", words
        )
        assert set(re.findall(r"\d+(?:\.\d+)?", cited)) <= {"1", "2"}
