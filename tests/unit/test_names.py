"""Names in words: what readers see of claims holds no identifier, and identifiers stay what they were."""

import re

import pytest

from bnopt import plugins
from bnopt.study import names, schema, study


@pytest.fixture(scope="module")
def full(config):
    return schema.with_defaults(config)


@pytest.mark.parametrize("section", ["claims", "alternatives"])
def test_labels_and_statements_hold_no_identifier(full, section):
    claims = study.claims(full, section)
    identifiers = {*full["conditions"], *full["quantities"], *full["probes"], *plugins.names("norms")}
    identifiers |= {"deep_linear", "vgg", "linf", "lr0.01", "lr1e-7"}
    # These are words too.
    identifiers -= {"batch", "noise", "curvature", "activations", "propagation", "none", "frozen", "layer"}
    identifiers -= {"sigma", "group", "instance", "centre", "divide"}
    assert len(claims) > 5
    for name, claim in claims.items():
        for text in (claim["label"], claim["statement"]):
            assert not set(re.findall(r"[\w.]+", text)) & identifiers, (name, text)
            assert not set(text) & set("_{}"), (name, text)


def test_labels_tell_all_claims_apart(full):
    labels = [claim["label"] for claim in study.claims(full, "claims").values()]
    assert len(set(labels)) == len(labels) > 100


def test_every_norm_and_task_has_a_name_of_its_own(config):
    # A norm that someone adds is called by the name of its file.
    assert set(names.NORMS) <= set(plugins.names("norms"))
    assert set(names.NORMS) >= {entry["norm"] for entry in config["conditions"].values()}
    assert set(names.TASKS) == set(plugins.names("tasks"))
    assert len(set(names.WORDS.values())) == len(names.WORDS) - 1  # effective β has two names in tables
    assert not any("_" in word for word in names.WORDS.values())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("linf", "L∞"), ("deep_linear", "deep linear network"), ("loss_variation", "loss variation"),
        ("_equal_loss", " at equal loss"), ("equal_loss", "at equal loss"), ("", ""), ("5", "5"),
        ("_new_name", " new name"),
    ],
)  # fmt: skip
def test_a_name_in_words(name, words):
    assert names.words(name) == words


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"norm": "batch", "lr": 0.1}, "BatchNorm, rate 0.1"),
        ({"norm": "none", "lr": 1e-6}, "no norm, rate 1e-6"),
        ({"norm": "l1", "lr": 2.5e-12}, "L₁, rate 2.5e-12"),
        ({"norm": "none", "lr": 0.1, "warmup": 0.1}, "no norm, rate 0.1, warm-up"),
        ({"norm": "none", "lr": 0.5, "initial_scale": 2**0.5}, "no norm, rate 0.5, weights × 1.41"),
        ({"norm": "none", "lr": 0.5, "initial_scale": 1}, "no norm, rate 0.5"),
        ({"norm": "mine", "lr": 10.0}, "mine, rate 10"),
    ],
)
def test_a_condition_in_words(settings, words):
    assert names.condition(settings) == words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rate 1e-7", "rate 10⁻⁷"),
        ("2.5e06, 1e+10", "2.5·10⁶, 10¹⁰"),
        ("×1e-8", "×10⁻⁸"),
        ("none_lr1e-7, a1e7, 1e, v1.2e3", "none_lr1e-7, a1e7, 1e, v1.2e3"),
    ],
)
def test_numbers_with_an_exponent_become_powers_of_ten(text, expected):
    assert names.with_powers(text) == expected


def test_texts_may_describe_the_conditions_of_a_claim():
    of_claim = {"for": {}, "label": "{condition_a} / {condition_b} / {lr}", "statement": "s", "source": "p"}
    of_claim |= {"quantity": "q", "margin_from": "convention", "condition_a": "a"}
    conditions = {"a": {"norm": "batch", "lr": 0.01}, "b": {"norm": "none", "lr": 0.1}}
    found = {}
    for reference in ("b", "chance", 1):
        claims = {"f": {"c": of_claim | {"condition_b": reference}}}
        config = {"claims": claims, "conditions": conditions, "quantities": {}}
        found[reference] = study.claims(config, "claims")["c"]["label"]
    assert found == {
        "b": "BatchNorm, rate 0.01 / no norm, rate 0.1 / 0.01",
        "chance": "BatchNorm, rate 0.01 / chance / 0.01",
        1: "BatchNorm, rate 0.01 / 1 / 0.01",
    }


@pytest.mark.parametrize(
    ("value", "text"), [(0.01, "0.01"), (1e-7, "1e-7"), (1e10, "1e10"), (2.5e-12, "2.5e-12"), (0, "0")]
)
def test_a_number_is_short(value, text):
    assert names.number(value) == text


@pytest.mark.parametrize(
    ("family", "heading"),
    [
        ("fig1", "Figure 1"), ("fig3a", "Figure 3(a)"), ("fig13", "Figure 13"), ("figures", "Figures"),
        ("my_own", "My own"), ("random_directions", "Section 3.2: random directions"),
    ],
)  # fmt: skip
def test_the_heading_of_a_family(family, heading):
    assert names.family(family) == heading


def test_every_family_beyond_the_papers_figures_has_a_heading(config):
    own = {family for family in config["claims"] if not family.startswith("fig")}
    assert own == set(names.FAMILIES)
