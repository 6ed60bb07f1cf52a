"""Rank correlations over norms, against the definition of Kendall's τ_b written out over pairs."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from bnopt import summaries, tau

CONDITIONS = [f"n{i}" for i in range(8)]
SEEDS = [0, 3]
CHANCE, STEPS, PROBED = 0.1, range(40), range(0, 40, 3)
MEASURES = {"along": ["beta", "loss_variation"], "curved": ["sharpness"]}


def tables(*, diverged=(), at_chance=(), seed=0):
    """Return tables of eight conditions; runs (condition, seed) in `diverged` stop at step 20."""
    random = np.random.default_rng(seed)
    training, along, curved = [], [], []
    for condition, run in itertools.product([*CONDITIONS, "another"], SEEDS):
        level, speed, key = random.uniform(0.4, 0.7), random.uniform(0.9, 0.99), {"condition": condition}
        for step in STEPS:
            row = key | {"seed": run, "layer": "", "step": step}
            gone = (condition, run) in diverged and step >= 20
            accuracy = CHANCE + 0.03 if condition in at_chance else level + 0.005 * step
            loss = 2.3 * speed**step
            row |= {"loss": math.inf if gone else loss, "accuracy": CHANCE if gone else accuracy}
            training.append(row | {"chance": CHANCE, "diverged": int(gone)})
            if step in PROBED and not gone:
                row = key | {"seed": run, "layer": "", "step": step}
                along.append(row | {"beta": random.lognormal(), "loss_variation": random.lognormal()})
                curved.append(row | {"sharpness": random.normal(1, 2)})
    return dict(zip(("training", *MEASURES), map(pd.DataFrame, (training, along, curved)), strict=True))


def tau_b(pairs):
    """Return (C − D) / √((n − ties in x)(n − ties in y)) over all n pairs of points."""
    concordant = discordant = ties_x = ties_y = n = 0
    for (x, y), (u, v) in itertools.combinations(pairs, 2):
        n += 1
        ties_x += x == u
        ties_y += y == v
        concordant += (x < u and y < v) or (x > u and y > v)
        discordant += (x < u and y > v) or (x > u and y < v)
    root = math.sqrt((n - ties_x) * (n - ties_y))
    return (concordant - discordant) / root if root else math.nan


def of_run(table, condition, seed, column):
    rows = table[(table["condition"] == condition) & (table["seed"] == seed)]
    return pd.Series(rows[column].to_list(), index=rows["step"].to_list()).dropna()


def slowly(found, seed, table, measure, *, equal_loss, trained, reference="n0"):
    """Return τ_b and the diverged conditions by loops; the bins of equal loss are those of `summaries`."""
    pairs, diverged = [], []
    for condition in CONDITIONS:
        accuracy = of_run(found["training"], condition, seed, "accuracy")
        if trained and accuracy.iloc[-2:].mean() <= CHANCE + 0.05:  # 5 % of 40 steps
            continue
        sides = [of_run(found[table], name, seed, measure) for name in (condition, reference)]
        if equal_loss:
            losses = [
                summaries.smooth(of_run(found["training"], name, seed, "loss"))
                for name in (condition, reference)
            ]
            own, other = summaries.equal_loss(*sides, *losses)
            ratios = [
                math.log(max(a, 1e-12)) - math.log(max(b, 1e-12)) for a, b in zip(own, other, strict=True)
            ]
            if not ratios:
                continue
            number = sum(ratios) / len(ratios)
        lost = of_run(found["training"], condition, seed, "diverged").any()
        if not equal_loss:
            number = math.inf if lost else sum(sides[0]) / len(sides[0])
        pairs.append((sum(accuracy) / len(accuracy), number))
        diverged += [condition] if lost else []
    return tau_b(pairs), diverged


def ranked(found):
    rows = tau.rank(found, conditions=CONDITIONS, reference="n0", measures=MEASURES)
    assert rows["seed"].tolist() == SEEDS
    assert (rows[["condition", "layer", "step"]] == ["all_norms", "", 0]).all(axis=None)
    return rows.set_index("seed")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"at_chance": ("n3", "n5")},
        {"diverged": [("n2", 0), ("n4", 0), ("n4", 3)]},
        {"diverged": [("n2", 0)], "at_chance": CONDITIONS[1:]},
        {"at_chance": CONDITIONS},
    ],
    ids=str,
)
def test_every_column_is_kendalls_tau_b_over_the_conditions(changes):
    found = tables(**changes)
    rows = ranked(found)
    assert len(rows.columns) == 3 + 2 * 4 * 3
    named = 0
    for table, measures in MEASURES.items():
        for measure, seed, at_equal_loss, trained in itertools.product(
            measures, SEEDS, (False, True), (False, True)
        ):
            column = measure + "_equal_loss" * at_equal_loss + "_trained" * trained
            expected, lost = slowly(found, seed, table, measure, equal_loss=at_equal_loss, trained=trained)
            assert rows[column][seed] == pytest.approx(expected, nan_ok=True), column
            assert rows[f"{column}_diverged"][seed] == ";".join(lost), column
            named += len(lost)
    assert (named > 0) == ("diverged" in changes)


def test_the_sign_says_whether_smoother_nets_train_better():
    found = tables()
    order = {name: i for i, name in enumerate(CONDITIONS)}
    for name, factor in (("along", 1), ("curved", -1)):
        steps = found[name]["condition"].map(order)
        for measure in MEASURES[name]:
            found[name][measure] = 10 + factor * steps
    found["training"]["accuracy"] = 0.9 - 0.05 * found["training"]["condition"].map(order)
    rows = ranked(found)
    for suffix in ("", "_equal_loss", "_trained", "_equal_loss_trained"):
        assert rows[f"beta{suffix}"].tolist() == pytest.approx([-1, -1])
        assert rows[f"sharpness{suffix}"].tolist() == pytest.approx([1, 1])


def test_two_conditions_have_a_correlation_and_one_has_none():
    found = tables(at_chance=CONDITIONS[2:])
    assert set(ranked(found)["beta_trained"]) <= {-1, 1}
    found = tables(at_chance=CONDITIONS[1:])
    assert ranked(found)["beta_trained"].isna().all()


def test_an_infinite_measure_is_as_large_as_another_at_equal_loss():
    """As in effects of claims; so the reference keeps its place, a log ratio of 0 to itself."""
    found = tables()
    step = found["along"]["step"] == 12
    found["along"].loc[step & found["along"]["condition"].isin(["n0", "n3"]), "beta"] = math.inf
    rows = ranked(found)
    for seed in SEEDS:
        pairs = []
        for condition in CONDITIONS:
            sides = [of_run(found["along"], name, seed, "beta") for name in (condition, "n0")]
            losses = [
                summaries.smooth(of_run(found["training"], name, seed, "loss")) for name in (condition, "n0")
            ]
            ratios = [
                0 if math.isinf(a) and math.isinf(b) else math.log(a) - math.log(b)
                for a, b in zip(*summaries.equal_loss(*sides, *losses), strict=True)
            ]
            accuracy = of_run(found["training"], condition, seed, "accuracy")
            if not math.isnan(sum(ratios)):  # the infinities of one run lie in two bins, on both sides
                pairs.append((sum(accuracy) / len(accuracy), sum(ratios) / len(ratios)))
        assert len(pairs) > 6
        assert rows["beta_equal_loss"][seed] == pytest.approx(tau_b(pairs))


def test_a_table_without_rows_and_a_condition_without_a_run_are_no_obstacle():
    found = tables()
    found["curved"] = pd.DataFrame(columns=["condition", "seed", "layer", "step"])
    for name in ("training", "along"):
        found[name] = found[name][found[name]["condition"] != "n7"]
    rows = ranked(found)
    assert rows["sharpness"].isna().all()
    assert rows["beta"].notna().all()


def test_at_equal_loss_norms_at_chance_count_only_if_they_share_a_loss_with_the_reference():
    columns = [measure for of_table in MEASURES.values() for measure in of_table]
    found = tables(at_chance=("n3", "n5"))

    def differing():
        rows = ranked(found)
        pairs = [(f"{name}_equal_loss", f"{name}_equal_loss_trained") for name in columns]
        return [one for one, other in pairs if (rows[one] != rows[other]).any()]

    assert differing()
    found["training"].loc[found["training"]["condition"].isin(["n3", "n5"]), "loss"] *= 1000
    assert differing() == []
