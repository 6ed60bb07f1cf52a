"""Claims judged on small tables, against the definitions written out as loops."""

import itertools
import math
import statistics
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bnopt import claims, evidence
from bnopt.runtime import StudyError

INF, NAN = math.inf, math.nan
STEPS = range(0, 12)
PROBED = range(0, 12, 3)
CHANCE = 0.1
CONDITIONS = ["a", "b", "c"]
SEEDS = [0, 1, 2, 10]


# -- tables made by hand ----------------------------------------------------------------------------


def training_table(*, diverged=(), seed=0, runs=None):
    """Return accuracies and losses of all runs; (condition, seed) in `diverged` diverge at step 4."""
    random = np.random.default_rng(seed)
    rows = []
    for condition, run in runs or itertools.product(CONDITIONS, SEEDS):
        level = random.uniform(0.3, 0.6)
        for step in [*STEPS, len(STEPS)]:
            gone, end = (condition, run) in diverged and step >= 4, step == len(STEPS)
            accuracy, loss = (
                level + 0.02 * step + random.normal(0, 0.02),
                2 * 0.8 ** (step + random.normal(0, 0.3)),
            )
            rows.append(
                {
                    "condition": condition,
                    "seed": run,
                    "layer": "",
                    "step": step,
                    "loss": INF if gone else NAN if end else loss,
                    "accuracy": NAN if end else CHANCE if gone else accuracy,
                    "test_accuracy": NAN if step % 6 else CHANCE if gone else accuracy - 0.1,
                    "chance": CHANCE,
                    "diverged": int(gone),
                }
            )
    return pd.DataFrame(rows)


def probe_table(*, diverged=(), layers=("#3", "#11", "#13"), seed=1, scale=None, runs=None):
    """Return positive values per layer and probed step; a diverged run has only those before step 4."""
    random = np.random.default_rng(seed)
    rows = []
    for condition, run in runs or itertools.product(CONDITIONS, SEEDS):
        for layer, step in itertools.product(layers, PROBED):
            row = {
                "condition": condition,
                "seed": run,
                "layer": layer,
                "step": step,
                "shift": (scale or {}).get(condition, 1) * random.lognormal(0, 0.3) * (1 + step),
                "other": random.uniform(),
            }
            if step < 4 or (condition, run) not in diverged:
                rows.append(row)
    return pd.DataFrame(rows)


def claim(**changes):
    return {
        "label": "A is larger",
        "source": "Figure 1",
        "family": "fig1",
        "statement": "A is larger.",
        "quantity": "shift",
        "layers": [],
        "condition_a": "a",
        "condition_b": "b",
        "expected": "greater",
        "margin": 1,
        "margin_from": "",
        "paper_value": "drawn",
    } | changes


def quantity(**changes):
    return {
        "table": "probed",
        "column": "shift",
        "summary": "mean",
        "compare": "log_ratio",
        "floor": 1e-12,
        "until_accuracy": None,
        "steps": None,
        "sensitivity": [],
    } | changes


def accuracy(**changes):
    return quantity(table="training", column="accuracy", compare="difference", floor=0.0) | changes


def judge(tables, the_claims, quantities):
    """Return claims by name, sensitivity by (claim, summary), effects by (claim, seed)."""
    rows, sensitivity, numbers = claims.judge(tables, claims=the_claims, quantities=quantities)
    assert rows["claim"].tolist() == list(the_claims)
    effects = {}
    if len(numbers):
        effects = {(r.claim, r.seed): r.effect for r in numbers.itertuples()}
    return (
        {row["claim"]: row for row in rows.to_dict("records")},
        {(row["claim"], row["summary"]): row for row in sensitivity.to_dict("records")},
        effects,
    )


# -- the same by loops --------------------------------------------------------------------------------


def steps_of(table, condition, seed, column, layers=()):
    """Return step -> mean over layers of the values that are not missing."""
    found = {}
    for row in table.to_dict("records"):
        of_run = row["condition"] == condition and row["seed"] == seed
        if of_run and (not layers or row["layer"] in layers) and not math.isnan(row[column]):
            found.setdefault(row["step"], []).append(row[column])
    return {step: math.fsum(values) / len(values) for step, values in sorted(found.items())}


def summarise(values, summary):
    values = list(values.values())
    if summary == "mean":
        return math.fsum(values) / len(values)
    if summary == "geometric_mean":
        return math.exp(math.fsum(map(math.log, values)) / len(values))
    if summary == "median":
        return statistics.median(values)
    if summary == "first":
        return values[0]
    return values[-1]  # last; in runs this short final is the same


def effects_by_loop(table, the_claim, the_quantity, summary=None):
    summary = summary or the_quantity["summary"]
    found = {}
    for seed in sorted(set(table["seed"])):
        sides = [
            steps_of(table, the_claim[side], seed, the_quantity["column"], the_claim["layers"])
            for side in ("condition_a", "condition_b")
        ]
        if all(sides):
            a, b = (summarise(values, summary) for values in sides)
            if the_quantity["compare"] == "log_ratio":
                floor = the_quantity["floor"]
                found[seed] = math.log(max(a, floor) / max(b, floor))
            else:
                found[seed] = a - b
    return found


def t_interval(effects, confidence=0.95):
    effects = list(effects)
    return stats.t.interval(confidence, len(effects) - 1, loc=np.mean(effects), scale=stats.sem(effects))


def assert_row(row, effects):
    assert row["n"] == len(effects)
    assert row["effect"] == pytest.approx(math.fsum(effects.values()) / len(effects))
    confidence = 0.90 if row["expected"] == "equivalent" else 0.95
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(t_interval(effects.values(), confidence))
    assert row["p_sign_flip"] >= 0.5 ** len(effects)


# -- effects ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("summary", ["mean", "first", "last", "final", "median"])
def test_accuracies_are_compared_as_differences_paired_by_seed(summary):
    tables = {"training": training_table()}
    entry = accuracy(summary=summary)
    the_claim = claim(quantity="q", margin=0)
    rows, _, effects = judge(tables, {"x": the_claim}, {"q": entry})
    expected = effects_by_loop(tables["training"], the_claim, entry)
    assert {seed: effect for (_, seed), effect in effects.items()} == pytest.approx(expected)
    assert_row(rows["x"], expected)
    assert rows["x"]["margin"] == 0
    assert rows["x"]["compare"] == "difference"


@pytest.mark.parametrize("layers", [[], ["#3"], ["#3", "#11"]])
@pytest.mark.parametrize("summary", ["mean", "geometric_mean", "median", "first", "last"])
def test_positive_quantities_are_compared_as_log_ratios_of_means_over_layers_then_steps(layers, summary):
    table = probe_table()
    # One layer lacks a step: a mean over all rows at once would give that step less weight.
    gap = (table["layer"] == "#11") & (table["step"] == 6) & (table["condition"] == "a")
    table.loc[gap, "shift"] = NAN
    tables = {"training": training_table(), "probed": table}
    the_claim = claim(layers=layers, margin=2)
    rows, _, effects = judge(tables, {"x": the_claim}, {"shift": quantity(summary=summary)})
    expected = effects_by_loop(table, the_claim, quantity(summary=summary))
    assert {seed: effect for (_, seed), effect in effects.items()} == pytest.approx(expected)
    assert_row(rows["x"], expected)
    assert rows["x"]["margin"] == pytest.approx(math.log(2))


def test_a_pair_is_two_runs_of_one_seed_whatever_their_order_and_others_do_not_count():
    table, training = probe_table(), training_table()
    table = table[~((table["condition"] == "a") & (table["seed"] == 1))]
    table = table[~((table["condition"] == "b") & (table["seed"] == 0))]
    entry, the_claim = quantity(), claim()
    expected = effects_by_loop(table, the_claim, entry)
    assert list(expected) == [2, 10]
    shuffled = table.sample(frac=1, random_state=0)
    for version in (table, shuffled):
        tables = {"training": training, "probed": version}
        rows, _, effects = judge(tables, {"x": the_claim}, {"shift": entry})
        assert {seed: effect for (_, seed), effect in effects.items()} == pytest.approx(expected)
        assert_row(rows["x"], expected)


def test_pairs_that_move_together_have_a_narrow_interval_that_unpaired_seeds_would_not():
    table = probe_table()
    b = table["condition"] == "b"
    twins = table[table["condition"] == "a"].assign(condition="b")
    seeds = table.loc[b, "seed"].to_numpy()
    table = pd.concat([table[~b], twins.assign(shift=twins["shift"] / (2 + 0.001 * seeds))])
    rows, _, _ = judge({"training": training_table(), "probed": table}, {"x": claim()}, {"shift": quantity()})
    assert rows["x"]["effect"] == pytest.approx(math.log(2), abs=0.01)
    assert rows["x"]["ci_high"] - rows["x"]["ci_low"] < 0.02


def test_a_floor_comes_before_the_logarithm():
    table = probe_table()
    table.loc[table["condition"] == "b", "shift"] = 0.0
    table.loc[(table["condition"] == "a") & (table["seed"] == 2), "shift"] = 1e-5
    entry = quantity(floor=1e-3)
    rows, _, effects = judge(
        {"training": training_table(), "probed": table}, {"x": claim()}, {"shift": entry}
    )
    expected = effects_by_loop(table, claim(), entry)
    assert effects["x", 2] == expected[2] == 0
    assert {seed: effect for (_, seed), effect in effects.items()} == pytest.approx(expected)
    assert_row(rows["x"], expected)


def test_without_a_floor_a_zero_is_infinitely_smaller_than_anything_but_another_zero():
    table = probe_table(diverged=[("b", 2)])
    of = {c: table["condition"] == c for c in ("a", "b")}
    table.loc[of["a"] & table["seed"].isin([0, 1, 2]), "shift"] = 0.0
    table.loc[of["b"] & (table["seed"] == 1), "shift"] = 0.0
    tables = {"training": training_table(diverged=[("b", 2)]), "probed": table}
    _, _, effects = judge(tables, {"x": claim()}, {"shift": quantity(floor=0.0)})
    # At seed 2 one side is zero and the other has diverged.
    assert [effects["x", seed] for seed in (0, 1, 2)] == [-INF, 0, -INF]
    assert math.isfinite(effects["x", 10])


def test_chance_stands_in_for_a_condition():
    tables = {"training": training_table()}
    the_claim = claim(quantity="q", condition_b="chance", expected="equivalent", margin=0.05)
    rows, _, effects = judge(tables, {"x": the_claim}, {"q": accuracy()})
    for seed in SEEDS:
        values = steps_of(tables["training"], "a", seed, "accuracy")
        assert effects["x", seed] == pytest.approx(math.fsum(values.values()) / len(values) - CHANCE)
    assert rows["x"]["n"] == len(SEEDS)
    assert rows["x"]["verdict"] == "contradicted"
    assert rows["x"]["condition_b"] == "chance"


def test_a_number_stands_in_for_a_condition():
    tables = {"training": training_table(), "probed": probe_table()}
    rows, _, effects = judge(tables, {"x": claim(condition_b=0.5)}, {"shift": quantity()})
    for seed in SEEDS:
        values = steps_of(tables["probed"], "a", seed, "shift")
        expected = math.log(math.fsum(values.values()) / len(values) / 0.5)
        assert effects["x", seed] == pytest.approx(expected)
    assert rows["x"]["verdict"] == "supported"


def test_of_several_columns_the_largest_effect_counts():
    table = probe_table()
    table["at_1"], table["at_2"] = table["shift"], table["shift"] * (1 + table["other"])
    tables = {"training": training_table(), "probed": table}
    _, _, effects = judge(tables, {"x": claim()}, {"shift": quantity(column="at_*")})
    columns = [effects_by_loop(table, claim(), quantity(column=c)) for c in ("at_1", "at_2")]
    for seed in SEEDS:
        assert effects["x", seed] == pytest.approx(max(of_column[seed] for of_column in columns))
    assert {columns[0][s] > columns[1][s] for s in SEEDS} == {True, False}


def test_of_several_columns_those_steps_count_that_have_a_value_in_each():
    """Otherwise the columns would be compared over other steps."""
    table = probe_table()
    table["at_1"], table["at_2"] = table["shift"], table["shift"] * (1 + table["other"])
    table.loc[table["step"] == 6, "at_2"] = NAN
    tables = {"training": training_table(), "probed": table}
    _, _, effects = judge(tables, {"x": claim()}, {"shift": quantity(column="at_*")})
    rest = table[table["step"] != 6]
    columns = [effects_by_loop(rest, claim(), quantity(column=c)) for c in ("at_1", "at_2")]
    for seed in SEEDS:
        assert effects["x", seed] == pytest.approx(max(of_column[seed] for of_column in columns))


def test_columns_that_only_another_task_has_do_not_count():
    table = probe_table()
    table["at_1"], table["at_2"] = table["shift"], np.nan
    tables = {"training": training_table(), "probed": table}
    rows, _, effects = judge(tables, {"x": claim()}, {"shift": quantity(column="at_*")})
    assert rows["x"]["verdict"] != "not run"
    assert {s: e for (_, s), e in effects.items()} == pytest.approx(
        effects_by_loop(table, claim(), quantity(column="at_1"))
    )


def test_only_steps_before_either_run_has_passed_an_accuracy_count_and_the_whole_run_beside_it():
    training, table = training_table(), probe_table()
    passed = {("a", 0): 7, ("b", 1): 4, ("a", 2): 10, ("b", 2): 7}  # condition, seed -> step
    for (condition, seed), step in passed.items():
        run = (training["condition"] == condition) & (training["seed"] == seed) & (training["step"] >= step)
        training.loc[run & training["accuracy"].notna(), "accuracy"] = 0.995
    entry = quantity(until_accuracy=0.99, sensitivity=["whole_run"])
    tables = {"training": training, "probed": table}
    rows, sensitivity, effects = judge(tables, {"x": claim()}, {"shift": entry})
    counted = {0: [0, 3, 6], 1: [0, 3], 2: [0, 3, 6], 10: [0, 3, 6, 9]}
    expected = {}
    for seed, steps in counted.items():
        before = table[(table["seed"] == seed) & table["step"].isin(steps)]
        expected |= effects_by_loop(before, claim(), entry)
    assert {seed: effect for (_, seed), effect in effects.items()} == pytest.approx(expected)
    assert_row(rows["x"], expected)
    whole = effects_by_loop(table, claim(), entry)
    assert sensitivity["x", "whole_run"]["effect"] == pytest.approx(math.fsum(whole.values()) / 4)


# -- runs long enough that smoothing matters --------------------------------------------------------------


def long_runs(steps=100, seed=5):
    """Return a training table and a table probed at every step, whose accuracies and losses are noisy."""
    random = np.random.default_rng(seed)
    curves, probed = [], []
    for condition, run in itertools.product(("a", "b"), SEEDS):
        rise = random.uniform(0.007, 0.010)
        for step in range(steps + 1):
            end = step == steps
            loss = 2 * math.exp(-0.02 * step + random.normal(0, 0.3))
            curves.append(
                {"condition": condition, "seed": run, "layer": "", "step": step, "chance": CHANCE}
                | {"loss": NAN if end else loss, "diverged": 0}
                | {"accuracy": NAN if end else rise * step + random.normal(0, 0.1)}
            )
            value = random.lognormal() * math.exp(step / 20)
            probed.append({"condition": condition, "seed": run, "layer": "", "step": step, "shift": value})
    return {"training": pd.DataFrame(curves), "probed": pd.DataFrame(probed)}


def smoothed_by_loop(values):
    """Return step -> mean over the window of five steps around it; the window is shorter at the ends."""
    windows = {step: [values[s] for s in range(step - 2, step + 3) if s in values] for step in values}
    return {step: math.fsum(window) / len(window) for step, window in windows.items()}


def counted_by_loop(tables, accuracy):
    """Return seed -> steps before the running mean of either run's accuracy reaches the accuracy."""
    counted = {}
    for seed in SEEDS:
        curves = [
            smoothed_by_loop(steps_of(tables["training"], condition, seed, "accuracy"))
            for condition in ("a", "b")
        ]
        first = next(step for step in range(101) if any(curve.get(step, 0) >= accuracy for curve in curves))
        counted[seed] = range(first)
    return counted


def test_the_accuracy_that_ends_the_counted_steps_is_a_running_mean_and_its_step_does_not_count():
    """Every step is probed, so one step more or less changes each effect."""
    tables = long_runs()
    entry = quantity(until_accuracy=0.5, sensitivity=["last", "equal_loss", "whole_run"])
    _, sensitivity, effects = judge(tables, {"x": claim()}, {"shift": entry})
    counted = counted_by_loop(tables, 0.5)
    before = pd.concat(
        tables["probed"][(tables["probed"]["seed"] == seed) & tables["probed"]["step"].isin(steps)]
        for seed, steps in counted.items()
    )
    expected = effects_by_loop(before, claim(), entry)
    assert {seed: effect for (_, seed), effect in effects.items()} == pytest.approx(expected)
    last = effects_by_loop(before, claim(), entry, "last")
    assert sensitivity["x", "last"]["effect"] == pytest.approx(math.fsum(last.values()) / 4)
    whole = effects_by_loop(tables["probed"], claim(), entry)
    assert sensitivity["x", "whole_run"]["effect"] == pytest.approx(math.fsum(whole.values()) / 4)
    # Single batches reach the accuracy earlier: the test tells the two apart.
    batches = tables["training"][tables["training"]["accuracy"] >= 0.5].groupby("seed")["step"].min()
    assert all(batches[seed] < steps.stop for seed, steps in counted.items())


def test_equal_loss_uses_running_means_of_the_loss_over_the_counted_steps():
    tables = long_runs()
    entry = quantity(until_accuracy=0.5, summary="equal_loss")
    _, _, effects = judge(tables, {"x": claim()}, {"shift": entry})
    for seed, steps in counted_by_loop(tables, 0.5).items():
        losses, values = [], []
        for condition in ("a", "b"):
            loss = smoothed_by_loop(steps_of(tables["training"], condition, seed, "loss"))
            value = steps_of(tables["probed"], condition, seed, "shift")
            losses.append([loss[step] for step in steps])
            values.append([value[step] for step in steps])
        low, high = max(map(min, losses)), min(map(max, losses))
        ratios = []
        for start, end in itertools.pairwise(low * (high / low) ** (number / 10) for number in range(11)):
            # Rounding decides nothing: no loss but the two extremes lies on an edge.
            start, end = start * (1 - 1e-9 * (start <= low)), end * (1 + 1e-9 * math.isclose(end, high))
            inside = [
                [v for loss, v in zip(*run, strict=True) if start < loss <= end]
                for run in zip(losses, values, strict=True)
            ]
            if all(inside):
                means = [math.fsum(of_run) / len(of_run) for of_run in inside]
                ratios.append(math.log(means[0] / means[1]))
        assert len(ratios) > 3
        assert effects["x", seed] == pytest.approx(math.fsum(ratios) / len(ratios)), seed


def test_an_accuracy_is_reached_where_a_run_has_exactly_that_accuracy():
    """In runs this short the running mean is the accuracy itself; 0.5 is exact in binary."""
    training, table = training_table(), probe_table()
    training.loc[training["accuracy"].notna(), "accuracy"] = 0.25
    reached = (training["condition"] == "b") & (training["step"] >= 6) & training["accuracy"].notna()
    training.loc[reached, "accuracy"] = 0.5
    entry = quantity(until_accuracy=0.5)
    _, _, effects = judge({"training": training, "probed": table}, {"x": claim()}, {"shift": entry})
    expected = effects_by_loop(table[table["step"] < 6], claim(), entry)
    assert {seed: effect for (_, seed), effect in effects.items()} == pytest.approx(expected)


# -- the other columns ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fractions", "counted"),
    # A run has 12 steps, and is probed at every third.
    [([0.5, 1], [6, 9]), ([0, 0.5], [0, 3, 6]), ([0.26, 0.74], [6]), ([0.25, 0.75], [3, 6, 9])],
)
@pytest.mark.parametrize("summary", ["mean", "first", "last", "median"])
def test_only_steps_between_two_fractions_of_the_configured_run_count(fractions, counted, summary):
    lost = {("b", 2)}  # from step 4 on
    table = probe_table(diverged=lost)
    tables = {"training": training_table(diverged=lost), "probed": table}
    entry = quantity(steps=fractions, summary=summary, sensitivity=["whole_run"])
    _, sensitivity, effects = judge(tables, {"x": claim()}, {"shift": entry})
    some = effects_by_loop(table[table["step"].isin(counted)], claim(), entry)
    some |= {} if summary == "first" and min(counted) < 4 else {2: -INF}
    assert {seed: effects["x", seed] for seed in SEEDS} == pytest.approx(some)
    whole = effects_by_loop(table, claim(), entry, "mean")
    assert sensitivity["x", "whole_run"]["effect"] == pytest.approx(sorted((whole | {2: -INF}).values())[1])


@pytest.mark.parametrize("fractions", [None, [0.5, 1]])
@pytest.mark.parametrize("rows_left", [True, False], ids=["at step 4", "at step 0"])
@pytest.mark.parametrize("compare", ["log_ratio", "difference"])
@pytest.mark.parametrize("lost", [{("a", 2)}, {("a", seed) for seed in SEEDS}], ids=["one", "all"])
def test_against_a_number_a_diverged_run_is_the_worst_whatever_it_left(fractions, rows_left, compare, lost):
    training, table = training_table(diverged=lost), probe_table(diverged=lost)
    if not rows_left:
        table = table[[run not in lost for run in zip(table["condition"], table["seed"], strict=True)]]
    entry = quantity(steps=fractions, compare=compare)
    the_claim = claim(condition_b=0.5, margin=1, expected="equivalent")
    rows, _, effects = judge({"training": training, "probed": table}, {"x": the_claim}, {"shift": entry})
    worst = {"log_ratio": INF, "difference": -INF}[compare]
    for seed in SEEDS:
        values = steps_of(table, "a", seed, "shift")
        mean = np.mean([values[step] for step in values if step >= (6 if fractions else 0)] or NAN)
        expected = math.log(mean / 0.5) if compare == "log_ratio" else mean - 0.5
        assert effects["x", seed] == (worst if ("a", seed) in lost else pytest.approx(expected))
    assert (rows["x"]["n"], rows["x"]["n_diverged"]) == (len(SEEDS), len(lost))
    if len(lost) == len(SEEDS):
        assert rows["x"]["verdict"] == "contradicted"


@pytest.mark.parametrize("floor", [1e-12, 1e-3, 0])
def test_a_zero_does_not_decide_a_geometric_mean(floor):
    """It counts as the floor of the quantity at its own step; without a floor, as the smallest float."""
    table = probe_table()
    zero = (table["condition"] == "a") & (table["step"] == 3)
    table.loc[zero, "shift"] = 0.0
    entry = quantity(summary="geometric_mean", floor=floor)
    _, _, effects = judge({"training": training_table(), "probed": table}, {"x": claim()}, {"shift": entry})
    at_floor = table.assign(shift=table["shift"].where(~zero, floor or sys.float_info.min))
    expected = effects_by_loop(at_floor, claim(), entry)
    assert {seed: effects["x", seed] for seed in SEEDS} == pytest.approx(expected)


@pytest.mark.parametrize("layers", [[], ["#3", "#13"]])
@pytest.mark.parametrize("summary", ["mean", "median", "last", "geometric_mean"])
def test_values_are_multiplied_by_a_column_of_another_table_step_by_step(summary, layers):
    """That column is a mean over all its layers; steps that one table lacks do not count."""
    table, factors = probe_table(), probe_table(seed=7, scale={"a": 5}, layers=("#1", "#3"))
    table = table[(table["condition"] == "a") | (table["step"] != 9)]
    factors = factors[(factors["seed"] != 1) | (factors["step"] != 0)]
    entry = quantity(summary=summary, times={"table": "factors", "column": "shift"})
    the_claim = claim(layers=layers)
    tables = {"training": training_table(), "probed": table, "factors": factors}
    _, _, effects = judge(tables, {"x": the_claim}, {"shift": entry})
    for seed in SEEDS:
        numbers = []
        for condition in ("a", "b"):
            values = steps_of(table, condition, seed, "shift", layers)
            of_factor = steps_of(factors, condition, seed, "shift")
            products = {step: value * of_factor[step] for step, value in values.items() if step in of_factor}
            assert len(products) == 4 - (condition == "b") - (seed == 1)
            numbers.append(summarise(products, summary))
        assert effects["x", seed] == pytest.approx(math.log(numbers[0] / numbers[1]))


def test_a_factor_of_a_diverged_run_changes_nothing_about_its_being_the_worst():
    diverged = [("a", 2), ("b", 10)]
    tables = {"training": training_table(diverged=diverged), "probed": probe_table(diverged=diverged)}
    entry = quantity(times={"table": "probed", "column": "other"})
    _, _, effects = judge(tables, {"x": claim()}, {"shift": entry})
    assert (effects["x", 2], effects["x", 10]) == (INF, -INF)
    nothing = pd.DataFrame(columns=["condition", "seed", "layer", "step"])
    every = [(condition, seed) for condition in CONDITIONS for seed in SEEDS]
    tables = {"training": training_table(diverged=every), "probed": nothing}
    rows, _, _ = judge(tables, {"x": claim()}, {"shift": entry})
    assert (rows["x"]["verdict"], rows["x"]["n"]) == ("not run", 0)


def test_an_unknown_column_of_the_factor_is_refused():
    tables = {"training": training_table(), "probed": probe_table()}
    entry = quantity(times={"table": "probed", "column": "sift"})
    with pytest.raises(StudyError, match=r"expected a column of .*shift.*; found sift"):
        judge(tables, {"x": claim()}, {"shift": entry})


def test_steps_that_no_run_has_leave_no_effect():
    tables = {"training": training_table(), "probed": probe_table()}
    rows, _, _ = judge(tables, {"x": claim()}, {"shift": quantity(steps=[0.8, 1])})
    assert (rows["x"]["verdict"], rows["x"]["n"]) == ("not run", 0)


def test_rows_repeat_the_claim_in_the_published_order():
    tables = {"training": training_table(), "probed": probe_table()}
    table, _, _ = claims.judge(tables, claims={"x": claim()}, quantities={"shift": quantity()})
    assert list(table) == claims.COLUMNS
    assert list(table)[:10] == [
        "claim",
        "label",
        "source",
        "statement",
        "quantity",
        "condition_a",
        "condition_b",
        "expected",
        "margin",
        "effect",
    ]
    (row,) = table.to_dict("records")
    for key, value in claim().items():
        if key not in ("layers", "margin"):
            assert row[key] == value


@pytest.mark.parametrize(
    ("expected", "times", "at_3", "at_30"),
    [
        ("greater", 8, "supported", "contradicted"),
        ("less", 1 / 8, "supported", "contradicted"),
        ("not_less", 1 / 8, "contradicted", "supported"),
        ("not_greater", 8, "contradicted", "supported"),
        ("equivalent", 8, "contradicted", "supported"),
        ("equivalent", 1 / 8, "contradicted", "supported"),
    ],
)
def test_a_margin_is_a_factor_for_ratios(expected, times, at_3, at_30):
    tables = {"training": training_table(), "probed": probe_table(scale={"a": times})}
    the_claims = {margin: claim(expected=expected, margin=margin) for margin in (3, 30)}
    rows, _, _ = judge(tables, the_claims, {"shift": quantity()})
    assert (rows[3]["verdict"], rows[30]["verdict"]) == (at_3, at_30)
    assert rows[30]["margin"] == pytest.approx(math.log(30))


def test_p_is_the_exact_sign_flip_of_the_effects():
    tables = {"training": training_table(), "probed": probe_table()}
    rows, _, effects = judge(tables, {"x": claim(margin=1.2)}, {"shift": quantity()})
    shifted = [effect - math.log(1.2) for effect in effects.values()]
    flips = [
        math.fsum(sign * d for sign, d in zip(signs, shifted, strict=True))
        for signs in itertools.product((1, -1), repeat=4)
    ]
    expected = sum(flip >= math.fsum(shifted) - 1e-12 for flip in flips) / 16
    assert rows["x"]["p_sign_flip"] == pytest.approx(expected)


def test_p_values_are_adjusted_within_their_family_alone():
    tables = {"training": training_table(), "probed": probe_table(scale={"a": 3})}
    the_claims = {
        "one": claim(family="f"),
        "other": claim(family="g", condition_b="c"),
        "two": claim(family="f", condition_b="c", margin=3),
        "three": claim(family="f", condition_a="b", condition_b="c"),
        "missing": claim(family="f", condition_b="nowhere"),
    }
    rows, _, _ = judge(tables, the_claims, {"shift": quantity()})
    p = {name: rows[name]["p_sign_flip"] for name in the_claims}
    assert len({p["one"], p["two"], p["three"]}) == 3
    ordered = sorted(["one", "two", "three"], key=p.get)
    running = 0
    for rank, name in enumerate(ordered):  # three claims: the one that was not run has no p value
        running = max(running, min(1, (3 - rank) * p[name]))
        assert rows[name]["p_holm"] == pytest.approx(running)
    assert rows["other"]["p_holm"] == p["other"]
    assert math.isnan(p["missing"])
    assert math.isnan(rows["missing"]["p_holm"])


def test_the_columns_of_evidence_are_those_of_the_effects_of_all_seeds():
    tables = {"training": training_table(), "probed": probe_table(scale={"a": 3}, diverged=[("b", 1)])}
    tables["training"] = training_table(diverged=[("b", 1)])
    the_claims = {
        "supported": claim(quantity="accuracy", margin=-1),
        "opposite": claim(quantity="accuracy", margin=1),
        "open": claim(expected="equivalent", margin=3),
    }
    rows, _, effects = judge(tables, the_claims, {"shift": quantity(), "accuracy": accuracy()})
    margins = {"supported": -1, "opposite": 1, "open": math.log(3)}
    assert [row["verdict"] for row in rows.values()] == ["supported", "contradicted", "inconclusive"]
    for name, row in rows.items():
        of_seeds = [effects[name, seed] for seed in SEEDS]
        settings = {"expected": the_claims[name]["expected"], "margin": margins[name]}
        wanted = evidence.of_claim(of_seeds, row["verdict"], **settings)
        for column in evidence.COLUMNS:
            assert row[column] == wanted[column] or (pd.isna(row[column]) and math.isnan(wanted[column]))
    assert rows["supported"]["seeds_agreeing"] == "4 of 4"
    assert rows["opposite"]["seeds_agreeing"] == "0 of 4"
    # Three claims of one family need six seeds.
    assert {row["seeds_to_confirm"] for row in rows.values()} == {6}
    assert {row["grade"] for row in rows.values()} == {""}


@pytest.mark.parametrize(("margin", "grade"), [(-1, "confirmed"), (1, "refuted")])
def test_from_five_seeds_on_a_claim_alone_can_be_confirmed_or_refuted(margin, grade):
    tables = {"training": training_table(runs=list(itertools.product(CONDITIONS, range(5))))}
    rows, _, _ = judge(tables, {"x": claim(quantity="q", margin=margin)}, {"q": accuracy()})
    assert rows["x"]["grade"] == grade
    tables = {"training": training_table(runs=list(itertools.product(CONDITIONS, range(4))))}
    rows, _, _ = judge(tables, {"x": claim(quantity="q", margin=margin)}, {"q": accuracy()})
    assert rows["x"]["grade"] == ""


def test_a_verdict_that_another_summary_would_change_is_flagged():
    """One late spike dominates the mean; the median has the opposite sign."""
    table = probe_table()
    spike = (table["condition"] == "a") & (table["step"] == 9)
    table.loc[(table["condition"] == "a"), "shift"] *= 0.5
    table.loc[spike, "shift"] *= 100
    tables = {"training": training_table(), "probed": table}
    entry = quantity(sensitivity=["geometric_mean", "median", "equal_loss"])
    rows, sensitivity, _ = judge(tables, {"x": claim()}, {"shift": entry})
    assert rows["x"]["verdict"] == "supported"
    verdicts = {summary: row["verdict"] for (_, summary), row in sensitivity.items()}
    assert list(verdicts) == ["mean", "geometric_mean", "median", "equal_loss"]
    assert verdicts["median"] == "contradicted"
    flips = [name for name in ("geometric_mean", "median", "equal_loss") if verdicts[name] != "supported"]
    assert rows["x"]["flips_under"] == ";".join(flips)
    for summary in ("mean", "geometric_mean", "median"):
        effects = effects_by_loop(table, claim(), entry, summary)
        row = sensitivity["x", summary]
        assert row["effect"] == pytest.approx(math.fsum(effects.values()) / 4)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(t_interval(effects.values()))
        assert row["n"] == 4


def test_a_verdict_that_every_summary_shares_is_not_flagged():
    tables = {"training": training_table(), "probed": probe_table(scale={"a": 50})}
    entry = quantity(sensitivity=["geometric_mean", "median"])
    rows, _, _ = judge(tables, {"x": claim()}, {"shift": entry})
    assert rows["x"]["verdict"] == "supported"
    assert rows["x"]["flips_under"] == ""


def test_equal_loss_is_the_mean_effect_over_bins_of_the_loss_that_both_runs_visit():
    training, table = training_table(), probe_table()
    # Both runs visit the same two losses and nothing else, at different steps.
    for condition, high in (("a", [0, 1, 2]), ("b", range(0, 8))):
        of = training["condition"] == condition
        training.loc[of, "loss"] = training.loc[of, "step"].map(
            lambda step, high=high: 2.0 if step in high else 1.0
        )
    entry = quantity(sensitivity=["equal_loss"])
    tables = {"training": training, "probed": table}
    _, sensitivity, _ = judge(tables, {"x": claim()}, {"shift": entry})
    expected = []
    for seed in SEEDS:
        a, b = (steps_of(table, condition, seed, "shift") for condition in ("a", "b"))
        at_high = math.log(a[0] / ((b[0] + b[3] + b[6]) / 3))
        at_low = math.log(((a[3] + a[6] + a[9]) / 3) / b[9])
        expected.append((at_high + at_low) / 2)
    assert sensitivity["x", "equal_loss"]["effect"] == pytest.approx(math.fsum(expected) / 4)
    # It may also be the quantity's own summary.
    rows, _, effects = judge(tables, {"x": claim()}, {"shift": quantity(summary="equal_loss")})
    assert [effects["x", seed] for seed in SEEDS] == pytest.approx(expected)
    assert_row(rows["x"], dict(enumerate(expected)))


def test_one_bin_that_both_runs_visit_suffices_for_equal_loss():
    training, table = training_table(), probe_table()
    for condition, losses in (("a", [4.0, 2.0, 1.0, 1.0]), ("b", [9.0, 3.0, 1.0, 0.5])):
        of = training["condition"] == condition
        training.loc[of, "loss"] = training.loc[of, "step"].map(
            lambda step, losses=losses: losses[min(step // 3, 3)]
        )
    _, _, effects = judge(
        {"training": training, "probed": table}, {"x": claim()}, {"shift": quantity(summary="equal_loss")}
    )
    # The range is 1 to 4. In its first bin are steps 6 and 9 of a and step 6 of b, in others one run alone.
    for seed in SEEDS:
        a, b = (steps_of(table, condition, seed, "shift") for condition in ("a", "b"))
        assert effects["x", seed] == pytest.approx(math.log((a[6] + a[9]) / 2 / b[6]))


def test_a_claim_with_two_pairs_has_a_verdict():
    runs = [(condition, seed) for condition in ("a", "b") for seed in (0, 1)]
    tables = {"training": training_table(runs=runs), "probed": probe_table(runs=runs)}
    rows, _, _ = judge(tables, {"x": claim()}, {"shift": quantity()})
    assert rows["x"]["verdict"] != "not run"
    assert_row(rows["x"], effects_by_loop(tables["probed"], claim(), quantity()))


@pytest.mark.parametrize("seeds", [[], [2]])
def test_a_claim_with_fewer_than_two_pairs_is_not_run_and_has_a_reason(seeds):
    runs = [("a", 0), ("a", 1), ("b", 7), *((c, s) for c in ("a", "b") for s in seeds)]
    tables = {"training": training_table(runs=runs), "probed": probe_table(runs=runs)}
    rows, _, effects = judge(tables, {"x": claim()}, {"shift": quantity(sensitivity=["median"])})
    row = rows["x"]
    assert row["verdict"] == "not run"
    assert row["n"] == len(seeds) == len(effects)
    assert f"found {len(seeds)}" in row["reason"]
    assert row["flips_under"] == ""
    for column in ("effect", "ci_low", "ci_high", "p_sign_flip", "p_holm"):
        assert math.isnan(row[column])


def test_a_claim_that_was_run_has_an_empty_reason():
    tables = {"training": training_table(), "probed": probe_table()}
    rows, _, _ = judge(tables, {"x": claim()}, {"shift": quantity()})
    assert rows["x"]["reason"] == ""


def test_a_summary_that_could_not_be_computed_is_no_flip():
    """If losses never agree, nothing is compared at equal loss: there is no other verdict, so no flag."""
    training = training_table()
    training.loc[training["condition"] == "a", "loss"] *= 1e6
    tables = {"training": training, "probed": probe_table(scale={"a": 50})}
    rows, sensitivity, _ = judge(tables, {"x": claim()}, {"shift": quantity(sensitivity=["equal_loss"])})
    assert sensitivity["x", "equal_loss"]["verdict"] == "not run"
    assert rows["x"]["verdict"] == "supported"
    assert rows["x"]["flips_under"] == ""


# -- diverged runs ----------------------------------------------------------------------------------------


def judged_with(diverged, the_claim, entry=None, **tables):
    found = {
        "training": training_table(diverged=diverged),
        "probed": probe_table(diverged=diverged),
    } | tables
    return judge(found, {"x": the_claim}, {the_claim["quantity"]: entry or quantity()})


def test_a_diverged_run_counts_as_infinite_and_finite_only_leaves_it_out():
    rows, sensitivity, effects = judged_with([("b", 1)], claim())
    assert effects["x", 1] == -INF
    finite = effects_by_loop(probe_table(), claim(), quantity())
    for seed in (0, 2, 10):
        assert effects["x", seed] == pytest.approx(finite[seed])
    row = rows["x"]
    assert (row["n"], row["n_diverged"], row["diverged"]) == (4, 1, "b")
    assert row["verdict"] == "inconclusive"
    assert (row["ci_low"], row["ci_high"]) == (-INF, INF)
    beside = sensitivity["x", "finite_only"]
    assert beside["n"] == 3
    others = [finite[seed] for seed in (0, 2, 10)]
    assert beside["effect"] == pytest.approx(math.fsum(others) / 3)
    assert (beside["ci_low"], beside["ci_high"]) == pytest.approx(t_interval(others))


def test_one_side_diverging_in_every_seed_decides():
    diverged = [("b", seed) for seed in SEEDS]
    rows, sensitivity, _ = judged_with(diverged, claim(expected="less", margin=2))
    row = rows["x"]
    assert (row["verdict"], row["effect"]) == ("supported", -INF)
    assert (row["ci_low"], row["ci_high"]) == (-INF, -INF)
    assert (row["n"], row["n_diverged"], row["diverged"]) == (4, 4, "b")
    assert row["p_sign_flip"] == 1 / 16
    assert sensitivity["x", "finite_only"]["n"] == 0
    rows, _, _ = judged_with(diverged, claim(expected="greater"))
    assert rows["x"]["verdict"] == "contradicted"


def test_a_decided_claim_is_not_flagged_because_nothing_finite_is_left():
    rows, _, _ = judged_with([("b", seed) for seed in SEEDS], claim(expected="less"))
    assert rows["x"]["verdict"] == "supported"
    assert rows["x"]["flips_under"] == ""


def test_where_both_diverged_neither_is_larger():
    diverged = [(condition, seed) for condition in ("a", "b") for seed in SEEDS]
    rows, _, effects = judged_with(diverged, claim(expected="equivalent", margin=2))
    assert set(effects.values()) == {0}
    assert rows["x"]["verdict"] == "supported"
    assert (rows["x"]["n_diverged"], rows["x"]["diverged"]) == (8, "a;b")


def test_infinite_values_of_a_run_that_did_not_diverge_count_as_they_are():
    table = probe_table()
    table.loc[(table["condition"] == "a") & (table["seed"] == 2) & (table["step"] == 3), "shift"] = INF
    rows, _, effects = judged_with([], claim(), probed=table)
    assert effects["x", 2] == INF
    assert (rows["x"]["n_diverged"], rows["x"]["diverged"]) == (0, "")
    rows, _, effects = judged_with([], claim(), quantity(summary="median"), probed=table)
    assert all(map(math.isfinite, effects.values()))


def test_the_accuracy_of_a_diverged_run_is_its_mean_with_chance_and_not_infinite():
    the_claim = claim(quantity="q", expected="less", margin=0)
    rows, _, effects = judged_with([("a", 0), ("a", 10)], the_claim, accuracy())
    expected = effects_by_loop(training_table(diverged=[("a", 0), ("a", 10)]), the_claim, accuracy())
    assert {seed: effect for (_, seed), effect in effects.items()} == pytest.approx(expected)
    assert expected[0] < -0.1
    assert rows["x"]["n_diverged"] == 2


def test_a_loss_of_a_diverged_run_is_infinite():
    entry = quantity(table="training", column="loss", summary="final")
    _, _, effects = judged_with([("a", 0)], claim(quantity="q"), entry)
    assert effects["x", 0] == INF
    assert sum(map(math.isinf, effects.values())) == 1


@pytest.mark.parametrize("summary", ["median", "last", "final", "mean"])
def test_a_loss_of_a_diverged_run_is_infinite_whatever_the_summary(summary):
    """Its median, and the losses before a run reaches an accuracy, are finite; they do not count."""
    training = training_table(diverged=[("b", 1)])
    training.loc[(training["condition"] == "a") & (training["step"] >= 3), "accuracy"] = 0.995
    the_claim = claim(quantity="q", expected="less")
    for until in (None, 0.99):
        entry = quantity(table="training", column="loss", summary=summary, until_accuracy=until)
        _, _, effects = judge({"training": training}, {"x": the_claim}, {"q": entry})
        assert effects["x", 1] == -INF
        assert sum(map(math.isinf, effects.values())) == 1


def test_a_diverged_run_without_values_is_infinite_too():
    table = probe_table()
    table = table[~((table["condition"] == "a") & (table["seed"] == 1))]
    rows, _, effects = judged_with([("a", 1)], claim(), probed=table)
    assert effects["x", 1] == INF
    assert rows["x"]["n"] == 4
    assert rows["x"]["n_diverged"] == 1


def test_a_probe_value_compared_by_differences_is_minus_infinity_in_a_diverged_run():
    """Such as cosines. Those measured before the run diverged do not count."""
    entry = quantity(compare="difference", column="other")
    the_claim = claim(quantity="q", expected="less", margin=0)
    rows, sensitivity, effects = judged_with([("a", 0), ("b", 1)], the_claim, entry)
    assert (effects["x", 0], effects["x", 1]) == (-INF, INF)
    finite = effects_by_loop(probe_table(), the_claim, entry)
    assert [effects["x", seed] for seed in (2, 10)] == pytest.approx([finite[2], finite[10]])
    assert (rows["x"]["n"], rows["x"]["n_diverged"]) == (4, 2)
    assert sensitivity["x", "finite_only"]["n"] == 2


@pytest.mark.parametrize(
    "summary", ["mean", "geometric_mean", "median", "first", "last", "final", "equal_loss"]
)
def test_no_summary_needs_a_value_of_a_run_that_diverged_at_once(summary):
    table = probe_table()
    table = table[~((table["condition"] == "b") & (table["seed"] == 1))]
    _, _, effects = judged_with([("b", 1)], claim(quantity="q"), quantity(summary=summary), probed=table)
    assert effects["x", 1] == -INF or (summary == "equal_loss" and math.isnan(effects["x", 1]))


@pytest.mark.parametrize("compare", ["log_ratio", "difference"])
def test_the_first_value_of_a_run_that_diverges_later_counts_as_it_is(compare):
    entry = quantity(summary="first", compare=compare, sensitivity=["last"])
    the_claim = claim(quantity="q", margin=1)
    rows, sensitivity, effects = judged_with([("a", 0), ("b", 1)], the_claim, entry)
    expected = effects_by_loop(probe_table(), the_claim, entry)
    assert {seed: effect for (_, seed), effect in effects.items()} == pytest.approx(expected)
    assert rows["x"]["n_diverged"] == 2
    assert math.isinf(sensitivity["x", "last"]["ci_low"])


def test_an_infinite_value_is_compared_with_a_number_like_any_other():
    table = probe_table()
    table.loc[(table["condition"] == "a") & (table["seed"] == 2) & (table["step"] == 0), "shift"] = INF
    for summary, expected in (("first", INF), ("mean", INF), ("last", None)):
        _, _, effects = judged_with([], claim(condition_b=1), quantity(summary=summary), probed=table)
        assert effects["x", 2] == expected or (expected is None and math.isfinite(effects["x", 2]))


def test_of_several_diverged_pairs_each_counts_on_its_side():
    _, _, effects = judged_with([("a", 0), ("b", 1), ("a", 2), ("b", 2)], claim())
    assert effects["x", 0] == INF
    assert effects["x", 1] == -INF
    assert effects["x", 2] == 0
    assert math.isfinite(effects["x", 10])


def test_rank_correlations_belong_to_no_run_and_are_compared_with_a_number():
    """Their table has one row per seed, also for a seed without a correlation."""
    found = [-0.9, -0.7, NAN, -0.2]
    table = pd.DataFrame({"condition": "all_norms", "seed": SEEDS, "layer": "", "step": 0, "beta": found})
    entry = quantity(table="tau", column="beta", compare="difference", summary="last")
    the_claim = claim(quantity="q", condition_a="all_norms", condition_b=-0.5, expected="less", margin=0)
    table["beta_diverged"] = ["norm", NAN, "norm;other", NAN]
    table["other_diverged"] = "another"
    diverged = [("a", SEEDS[0])]  # a run, which says nothing about all norms together
    rows, _, effects = judged_with(diverged, the_claim, entry, tau=table)
    expected = {0: -0.4, 1: -0.2, 10: 0.3}
    assert math.isnan(effects.pop(("x", 2)))
    assert {seed: effect for (_, seed), effect in effects.items()} == pytest.approx(expected)
    assert_row(rows["x"], expected)
    assert (rows["x"]["n_diverged"], rows["x"]["diverged"]) == (3, "norm;other")
    table["beta_diverged"] = NAN  # as a column of empty texts is read
    rows, _, _ = judged_with(diverged, the_claim, entry, tau=table)
    assert (rows["x"]["n_diverged"], rows["x"]["diverged"]) == (0, "")


def test_a_column_that_the_table_lacks_is_named():
    tables = {"training": training_table(), "probed": probe_table()}
    with pytest.raises(StudyError, match=r"expected a column of .*shift.*; found no_such_column"):
        judge(tables, {"it": claim()}, {"shift": quantity(column="no_such_column")})
