"""The A/A study on small tables, against the same claims judged one pairing at a time."""

import itertools

import _page
import aa
import numpy as np
import pandas as pd
import pytest

from bnopt import claims
from bnopt.study import study

SEEDS = [0, 1, 5, 7]


@pytest.fixture
def asked(config):
    return aa.comparisons(study.written_out(config | {"scale": aa.SCALE}))


def tables(seed=0):
    """Return numbers per seed and step of one condition: curves, and a landscape."""
    random = np.random.default_rng(seed)
    rows = [
        {
            "condition": aa.CONDITION,
            "seed": run,
            "layer": "",
            "step": step,
            "loss": 2 * 0.9 ** (step + random.normal()),
            "accuracy": level + 0.01 * step,
            "test_accuracy": level,
            "chance": 0.1,
            "diverged": 0,
            "beta": level * np.exp(random.normal()),
        }
        for run, level in zip(SEEDS, (0.2, 0.4, 0.6, 0.81), strict=True)
        for step in range(8)
    ]
    whole = pd.DataFrame(rows)
    return {
        "training": whole.drop(columns="beta"),
        "along_gradient": whole[["condition", "seed", "layer", "step", "beta"]],
    }


def test_every_split_and_pairing_is_taken_once():
    found = [frozenset(zip(first, second, strict=True)) for first, second in aa.pairings(8)]
    assert len(found) == len(set(found)) == 1680
    assert all(len({*itertools.chain(*pairing)}) == 8 for pairing in found)


def test_shares_are_those_of_the_pairings_judged_one_by_one(asked):
    comparisons, quantities = asked
    few = {
        name: claim
        for name, claim in comparisons.items()
        if claim["quantity"] in ("training_accuracy", "effective_beta")
    }
    assert {claim["expected"] for claim in few.values()} == {"greater", "less", "not_less"}
    counts = dict.fromkeys(itertools.product(few, aa.VERDICTS), 0)
    pairings = 0
    for first in itertools.combinations(SEEDS, 2):
        for second in itertools.permutations(set(SEEDS) - set(first)):
            halves = {"first": first, "second": second}
            renamed = {
                name: pd.concat(
                    of[of["seed"] == run].assign(condition=side, seed=place)
                    for side, half in halves.items()
                    for place, run in enumerate(half)
                )
                for name, of in tables().items()
            }
            for row in claims.judge(renamed, claims=few, quantities=quantities)[0].to_dict("records"):
                counts[row["claim"], row["verdict"]] += 1
            pairings += 1
    found = aa.shares(tables(), asked=few, quantities=quantities)
    assert len(found) == len(few)
    for name, row in zip(few, found.to_dict("records"), strict=True):
        for verdict in aa.VERDICTS:
            assert row[verdict] == pytest.approx(counts[name, verdict] / pairings), (name, verdict)
    assert len(set(counts.values())) > 2


def test_the_comparisons_are_those_of_the_paper_with_both_directions(asked):
    comparisons, quantities = asked
    kinds = {}
    for claim in comparisons.values():
        assert (claim["condition_a"], claim["condition_b"]) == aa.SIDES
        of_quantity = kinds.setdefault((claim["quantity"], *claim["layers"]), set())
        of_quantity.add((claim["expected"], claim["margin"]))
    for (quantity, *_), found in kinds.items():
        none = 1 if quantities[quantity]["compare"] == "log_ratio" else 0
        assert {("greater", none), ("less", none)} <= found
    assert kinds["shift_cosine", "#5"] == {("greater", 0), ("less", 0), ("not_greater", 0.1)}
    assert {"loss_variation", "gradient_predictiveness", "effective_beta"} <= {key[0] for key in kinds}


def test_the_raw_tables_are_targets_of_the_workflow(asked, monkeypatch):
    """A dry run with these targets plans a training and the probes of each seed, and nothing else."""
    comparisons, quantities = asked
    done, call = [], aa.subprocess.run
    monkeypatch.setattr(
        aa.subprocess,
        "run",
        lambda command, **options: done.append(
            call([*command[:4], "-n", "--forceall", *command[4:]], capture_output=True, text=True, **options)
        ),
    )
    patterns = aa.paths(quantities[claim["quantity"]]["table"] for claim in comparisons.values())
    aa.run(patterns)
    plan = dict(line.split() for line in done[0].stdout.splitlines() if len(line.split()) == 2)
    plan |= dict(line.split() for line in done[0].stderr.splitlines() if len(line.split()) == 2)
    probes = len(patterns) - 1
    assert {rule: plan[rule] for rule in ("train", "probe", "total")} == {
        "train": "8",
        "probe": str(8 * probes),
        "total": str(9 + 8 * probes),
    }


def test_the_stored_table_has_every_comparison(asked):
    wanted = [
        (claim["quantity"], " ".join(claim["layers"]), claim["expected"], claim["margin"])
        for claim in asked[0].values()
    ]
    stored = aa.read()
    keys = stored[["quantity", "layers", "expected", "margin"]].itertuples(index=False, name=None)
    assert list(keys) == wanted
    assert np.allclose(stored[[*aa.VERDICTS]].sum(axis=1), 1)


def test_the_page_shows_the_stored_table():
    assert _page.block(_page.PAGE.read_text(encoding="utf-8"), "A/A") == aa.page(aa.read())


def test_the_summary_states_the_mean_share_of_directions():
    stored = aa.read()
    directions = stored[stored["expected"].isin(aa.DIRECTIONS)]
    text = " ".join(_page.PAGE.read_text(encoding="utf-8").split())
    assert f"supported in {100 * directions['supported'].mean():.1f} % of pairings on average" in text
