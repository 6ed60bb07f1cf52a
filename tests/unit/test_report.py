"""What the report says of results kept of other scales."""

import math

import pandas as pd

from bnopt import report


def claims(**verdicts):
    """Return claims as they were judged: name -> verdict, effect, kind of comparison."""
    return pd.DataFrame(
        [
            {"claim": name, "verdict": verdict, "effect": effect, "compare": compare}
            | {"ci_low": effect - math.log(2), "ci_high": effect + math.log(2), "n": 3}
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
        rf"{times}\num{{6}} [\num{{3}}, \num{{12}}] supported",
        "not run",
        rf"{times}\num{{8}} [\num{{4}}, \num{{16}}] contradicted",
    ]
    assert table[r"cifar10\_small"].tolist() == [
        "--",
        rf"{times}\num{{10}} [\num{{5}}, \num{{20}}] supported",
        rf"{times}\num{{4}} [\num{{2}}, \num{{8}}] inconclusive",
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
