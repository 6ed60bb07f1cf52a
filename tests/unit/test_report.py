"""What the report says of results kept of other scales."""

import math

import pandas as pd
import pytest

from bnopt import report, verdicts


def claims(**verdicts):
    """Return claims as they were judged: name -> verdict, effect, kind of comparison."""
    return pd.DataFrame(
        [
            {"claim": name, "verdict": verdict, "effect": effect, "compare": compare}
            | {"ci_low": effect - math.log(2), "ci_high": effect + math.log(2), "n": 3}
            | {"flips_under": "median" if name == "d" else "", "n_diverged": int(name in "ad")}
            for name, (verdict, effect, compare) in verdicts.items()
        ]
    )


HERE = claims(
    a=("supported", math.log(6), "log_ratio"),
    b_c=("not run", math.nan, "log_ratio"),
    d=("contradicted", math.log(8), "log_ratio"),
)
THERE = claims(
    d=("inconclusive", math.log(4), "log_ratio"),
    b_c=("supported", math.log(10), "log_ratio"),
    old=("supported", 0.0, "log_ratio"),
)


def test_every_claim_stands_beside_itself_at_other_scales_whatever_their_order():
    table = report.scales_table(HERE, {"cifar10_small": THERE})
    assert list(table) == ["Claim", "Here", r"cifar10\_small"]
    assert table["Claim"].tolist() == [report.identifier(name) for name in ("a", "b_c", "d")]
    times = r"$\times$\,"
    assert table["Here"].tolist() == [
        rf"{times}\num{{6}} [\num{{3}}, \num{{12}}] supported\textdagger",
        "not run",
        rf"{times}\num{{8}} [\num{{4}}, \num{{16}}] contradicted*\textdagger",
    ]
    assert table[r"cifar10\_small"].tolist() == [
        "--",
        rf"{times}\num{{10}} [\num{{5}}, \num{{20}}] supported",
        rf"{times}\num{{4}} [\num{{2}}, \num{{8}}] inconclusive*\textdagger",
    ]


def test_the_numbers_of_another_scale_are_counted_from_its_own_claims():
    found = report.kept_numbers({"paper": THERE}, {"paper": {"source": "50 % of A_B"}})
    assert found == {
        "kept.paper.count.supported": 2,
        "kept.paper.count.contradicted": 0,
        "kept.paper.count.inconclusive": 1,
        "kept.paper.count.not run": 0,
        "kept.paper.claims": 3,
        "kept.paper.seeds": 3,
        "kept.paper.source": r"50 \% of A\_B",
    }
    assert report.kept_numbers({}, {}) == {}


@pytest.mark.parametrize(
    ("expected", "margin", "compare", "text"),
    [
        ("greater", 0.0, "difference", r"$>$ \num{0}"),
        ("less", 0.0, "difference", r"$<$ \num{0}"),
        ("not_less", 0.05, "difference", r"$>$ \num{-0.05}"),
        ("not_greater", 0.1, "difference", r"$<$ \num{0.1}"),
        ("equivalent", 0.05, "difference", r"\num{-0.05} to \num{0.05}"),
        ("greater", 0.0, "log_ratio", r"$>$ \num{1}"),
        ("not_less", math.log(2), "log_ratio", r"$>$ \num{0.5}"),
        ("not_greater", math.log(3), "log_ratio", r"$<$ \num{3}"),
        ("less", math.log(2), "log_ratio", r"$<$ \num{0.5}"),
        ("equivalent", math.log(2), "log_ratio", r"\num{0.5} to \num{2}"),
    ],
)
def test_what_is_expected_of_an_effect_is_the_side_on_which_it_is_supported(expected, margin, compare, text):
    assert report.expectation({"expected": expected, "margin": margin, "compare": compare}) == text
    inside = margin / 2 if expected == "equivalent" else verdicts.SIDES[expected][0] * 10
    assert verdicts.assess([inside] * 9, expected=expected, margin=margin)["verdict"] == "supported"
