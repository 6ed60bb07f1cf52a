"""Specification curves, against the same computed by loops from the raw tables of a small study."""

import csv
import functools
import itertools
import json
import math
import statistics as plain_statistics

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bnopt import claims, specifications, statistics
from bnopt.files import artefacts
from bnopt.study import study

SEEDS, STEPS, PROBED, RATE, CHANCE = (0, 1, 2, 3), 60, 5, 0.1, 0.1
SIZES, LAYERS = (0.5, 1, 2), ("#3", "#11")
# (condition, seed) -> the step at which the run diverges.
STUDIES = {
    "no run diverged": {},
    "one run diverged": {("b", 2): 40},
    "one run diverged at once": {("b", 2): 0},
    "both conditions diverged in a seed": {("a", 1): 33, ("b", 1): 40},
    "one condition diverged": {("b", seed): 40 for seed in SEEDS},
    "all runs diverged at once": {run: 0 for run in itertools.product("ab", SEEDS)},
}
QUANTITIES = {
    "accuracy": {"table": "training", "column": "accuracy", "compare": "difference"},
    "loss_variation": {"table": "along_gradient", "column": "loss_variation"},
    "beta": {"table": "along_gradient", "column": "beta", "summary": "geometric_mean"},
    "beta_at_lr": {"table": "along_gradient", "column": "beta_at_lr", "summary": "equal_loss"},
    "cosine": {
        "table": "covariate_shift",
        "column": "cosine",
        "compare": "difference",
        "until_accuracy": 0.9,
    },
    "shift": {"table": "covariate_shift", "column": "difference", "summary": "median"},
}
QUANTITIES = {
    name: {
        "summary": "mean",
        "compare": "log_ratio",
        "floor": 1e-12,
        "until_accuracy": None,
        "steps": None,
        "sensitivity": [],
    }
    | quantity
    for name, quantity in QUANTITIES.items()
}
EXPECTED = {
    # expected, margin, layers
    "accuracy": ("greater", 0.01, []),
    "loss_variation": ("less", 1, []),
    "beta": ("less", 1, []),
    "beta_at_lr": ("equivalent", 2, []),
    "cosine": ("not_greater", 0.1, ["#3"]),
    "shift": ("not_less", 1.5, []),
}
CLAIMS = {
    f"claim_{name}": {
        "label": f"About {name}", "source": "Figure 1", "family": "f", "statement": "So it is.",
        "quantity": name, "condition_a": "a", "condition_b": "b", "expected": expected, "margin": margin,
        "layers": layers, "margin_from": "", "paper_value": "",
    }
    for name, (expected, margin, layers) in EXPECTED.items()
}  # fmt: skip
CHOICES = {name: study.choices(quantity) for name, quantity in QUANTITIES.items()}
SMOOTHED_OVER = 3  # steps, 5 % of a run


# -- the raw tables of a small study ----------------------------------------------------------------


def training_rows(condition, seed, first):
    random = np.random.default_rng([seed, condition == "a"])
    pace = (0.09 if condition == "a" else 0.04) * random.uniform(0.8, 1.2)
    rows = []
    for step in range(STEPS + 1):
        gone, end = step >= first, step == STEPS
        loss = 2.5 * math.exp(-pace * step) * random.uniform(0.95, 1.05)
        accuracy = min(1, 0.1 + pace * step / 3 + random.uniform(0, 0.02))
        rows.append(
            {
                "step": step,
                "loss": math.inf if gone else math.nan if end else loss,
                "accuracy": math.nan if gone or end else accuracy,
                "test_accuracy": 0.5 if end and not gone else math.nan,
                "chance": CHANCE,
                "diverged": int(gone),
            }
        )
    return rows


def gradient_rows(condition, seed, first):
    random = np.random.default_rng([seed, condition == "a", 7])
    for step in range(0, min(STEPS, first), PROBED):
        length = random.lognormal()
        for size in SIZES:
            rough = (0.5 if condition == "a" else 1) * size * random.lognormal(0, 0.5)
            yield {
                "step": step, "lr": RATE, "eta": size * RATE, "loss": 1 + rough,
                "gradient_change": length * rough, "gradient_length": length,
            }  # fmt: skip


def shift_rows(condition, seed, first):
    random = np.random.default_rng([seed, condition == "a", 8])
    for step, layer in itertools.product(range(0, min(STEPS, first), PROBED), LAYERS):
        size = random.lognormal(0, 0.6)
        yield {
            "step": step, "layer": layer, "difference": size, "relative_difference": size / 2,
            "cosine": random.uniform(-0.5, 1),
        }  # fmt: skip


ROWS = {"training": training_rows, "along_gradient": gradient_rows, "covariate_shift": shift_rows}


def write_raw(folder, diverged):
    """Write the raw table of every run; return the pattern of their paths, with a {table} to fill in."""
    for name, rows_of in ROWS.items():
        for condition, seed in itertools.product("ab", SEEDS):
            rows = list(rows_of(condition, seed, diverged.get((condition, seed), math.inf)))
            # Like the stages, which write a table without rows with these two columns.
            table = pd.DataFrame(rows, columns=list(rows[0]) if rows else [])
            table.insert(0, "condition", condition)
            table.insert(1, "seed", seed)
            artefacts.write_table(table, folder / name / condition / f"seed{seed}.csv")
    return str(folder / "{table}" / "{{condition}}" / "seed{{seed}}.csv")


@pytest.fixture(scope="module", params=STUDIES)
def diverged(request):
    """(condition, seed) -> the step at which the run diverges."""
    return STUDIES[request.param]


@pytest.fixture(scope="module")
def folder(diverged, tmp_path_factory):
    """A folder with the raw tables, the numbers per seed, and specifications.csv, made by the command."""
    folder = tmp_path_factory.mktemp("study")
    pattern = write_raw(folder, diverged)
    per_seed = []
    for name in ROWS:
        runs = artefacts.read_runs(pattern.format(table=name), conditions="ab", seeds=SEEDS)
        per_seed.append(str(folder / f"{name}_per_seed.csv"))
        artefacts.write_table(statistics.per_seed(runs, table=name), per_seed[-1])
    settings = {
        "tables": list(ROWS), "grids": {"along_gradient": ["a", "b"]}, "seeds": SEEDS,
        "claims": CLAIMS, "quantities": QUANTITIES, "choices": CHOICES,
    }  # fmt: skip
    specifications.main(
        [
            *("--settings", json.dumps(settings), "--tables", *per_seed),
            *("--runs", pattern.format(table="along_gradient")),
            *("--specifications", str(folder / "specifications.csv")),
        ]
    )
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """The table of specifications."""
    return artefacts.read_table(folder / "specifications.csv").fillna({"coincides": "", "reason": ""})


# -- the same by loops ------------------------------------------------------------------------------


@functools.cache
def raw(folder, table, condition, seed):
    """Return the rows of a raw table as dictionaries."""
    with (folder / table / condition / f"seed{seed}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ("condition", "layer")
    return [{k: v if k in names else float(v or "nan") for k, v in row.items()} for row in rows]


@functools.cache
def curve_of(folder, run, key):
    """Return step -> loss or accuracy of a run, in which an accuracy after divergence is that of a guess."""
    curve = {}
    for row in raw(folder, "training", *run):
        guessed = key == "accuracy" and row["diverged"] and row["step"] < STEPS
        curve[row["step"]] = CHANCE if guessed else row[key]
    return curve


@functools.cache
def smoothed(folder, run, key):
    """Return the mean of a curve over three steps, of the finite values; nothing where there is none."""
    curve, near = curve_of(folder, run, key), SMOOTHED_OVER // 2
    found = {}
    for step in curve:
        values = [curve.get(step + k, math.nan) for k in range(-near, near + 1)]
        values = [value for value in values if math.isfinite(value)]
        if values:
            found[step] = sum(values) / len(values)
    return found


@functools.cache
def values_of(folder, run, name, layers, grid):
    """Return step -> value of a quantity of one run."""
    quantity = QUANTITIES[name]
    if quantity["table"] == "training":
        return {step: v for step, v in curve_of(folder, run, "accuracy").items() if not math.isnan(v)}
    by_step = {}
    for row in raw(folder, quantity["table"], *run):
        by_step.setdefault(row["step"], []).append(row)
    if quantity["table"] == "covariate_shift":
        chosen = layers or LAYERS
        return {
            step: plain_statistics.mean(row[quantity["column"]] for row in rows if row["layer"] in chosen)
            for step, rows in by_step.items()
        }
    allowed = {"all": (0.5, 1, 2), "up_to_lr": (0.5, 1), "lr": (1,)}[grid]
    found = {}
    for step, rows in by_step.items():
        rows = [row for row in rows if any(math.isclose(row["eta"] / RATE, size) for size in allowed)]
        losses = [row["loss"] for row in rows]
        betas = {row["eta"]: row["gradient_change"] / row["eta"] / row["gradient_length"] for row in rows}
        found[step] = {
            "loss_variation": max(losses) - min(losses),
            "beta": max(betas.values()),
            "beta_at_lr": betas.get(RATE),
        }[quantity["column"]]
    return found


def counts(step, steps, curves, accuracy):
    if steps == "until_converged":
        return not any(reached <= step for curve in curves for reached, v in curve.items() if v >= accuracy)
    return {"all": True, "first_half": step < STEPS / 2, "second_half": step >= STEPS / 2}[steps]


def summarise(values, summary):
    if summary == "geometric_mean":
        return math.exp(sum(map(math.log, values)) / len(values))
    return {"mean": plain_statistics.mean, "median": plain_statistics.median}[summary](values)


def equal_loss(sides, losses, compare):
    """Return the mean over ten bins of equal width in log loss, of those that both runs visit."""
    visits = [
        {step: loss[step] for step in side if step in loss} for side, loss in zip(sides, losses, strict=True)
    ]
    if not all(visits):
        return math.nan
    low, high = max(min(v.values()) for v in visits), min(max(v.values()) for v in visits)
    if not low < high:
        return math.nan
    effects = []
    edges = [low * (high / low) ** (k / 10) for k in range(10)] + [high]
    for k in range(10):
        means = []
        for side, visit in zip(sides, visits, strict=True):
            inside = [
                side[step]
                for step, loss in visit.items()
                if edges[k] < loss <= edges[k + 1] or (k == 0 and loss == low)
            ]
            means.append(plain_statistics.mean(inside) if inside else None)
        if None not in means:
            effects.append(compare(*means))
    return plain_statistics.mean(effects) if effects else math.nan


def effects_by_loop(folder, claim, combination, diverged):
    """Return the effect of every seed under a combination of summary, steps and grid; NaN if it has none."""
    (summary, steps, grid), quantity = combination, QUANTITIES[claim["quantity"]]
    ratio = quantity["compare"] == "log_ratio"

    def compare(a, b):
        return math.log(a / b) if ratio else a - b

    found = []
    for seed in SEEDS:
        runs = ("a", seed), ("b", seed)
        accuracies = [smoothed(folder, run, "accuracy") for run in runs]
        losses = [smoothed(folder, run, "loss") for run in runs]
        limit = quantity["until_accuracy"] or 0.99
        sides = [values_of(folder, run, claim["quantity"], tuple(claim["layers"]), grid) for run in runs]
        sides = [{t: v for t, v in side.items() if counts(t, steps, accuracies, limit)} for side in sides]
        if summary == "equal_loss":
            found.append(equal_loss(sides, losses, compare))
            continue
        # A size of a diverged run is the largest, a cosine the smallest; its accuracies are guesses.
        worst = [run in diverged and quantity["table"] != "training" for run in runs]
        if all(diverged.get(run) == 0 for run in runs) and any(worst):
            found.append(math.nan)  # nothing was measured on either side
        elif any(worst):
            found.append((worst[0] - worst[1]) * (math.inf if ratio else -math.inf) if sum(worst) == 1 else 0)
        elif all(sides):
            found.append(compare(*(summarise(list(side.values()), summary) for side in sides)))
        else:
            found.append(math.nan)
    return found


def judged_by_loop(effects, claim):
    """Return effect, ci_low, ci_high, verdict and n."""
    effects = sorted(effect for effect in effects if not math.isnan(effect))
    if len(effects) < 2:
        return math.nan, math.nan, math.nan, "not run", len(effects)
    confidence = 0.9 if claim["expected"] == "equivalent" else 0.95
    if len(set(effects)) == 1:
        effect = low = high = effects[0]
    elif all(map(math.isfinite, effects)):
        effect = plain_statistics.mean(effects)
        low, high = stats.t.interval(confidence, len(effects) - 1, effect, stats.sem(effects))
    else:  # the smallest and largest of 4 effects hold the median with 87.5 % only
        effect, low, high = effects[(len(effects) - 1) // 2], -math.inf, math.inf
    ratio = QUANTITIES[claim["quantity"]]["compare"] == "log_ratio"
    margin = math.log(claim["margin"]) if ratio else claim["margin"]
    supported = {
        "greater": low > margin,
        "less": high < -margin,
        "not_greater": high < margin,
        "not_less": low > -margin,
        "equivalent": -margin < low and high < margin,
    }[claim["expected"]]
    contradicted = {
        "greater": high < margin,
        "less": low > -margin,
        "not_greater": low > margin,
        "not_less": high < -margin,
        "equivalent": low > margin or high < -margin,
    }[claim["expected"]]
    verdict = "supported" if supported else "contradicted" if contradicted else "inconclusive"
    return effect, low, high, verdict, len(effects)


def combinations_of(row):
    """Return the combinations that a row stands for, its own first."""
    others = [tuple(one.split("/")) for one in row["coincides"].split(";") if one]
    return [(row["summary"], row["steps"], row["grid"]), *others]


def has_no_width(claim, combination, folder, diverged):
    """Return whether a claim is about a range over step sizes, on a grid of one, measured in some run."""
    measured = any(diverged.get(run, STEPS) > 0 for run in itertools.product("ab", SEEDS))
    return claim["quantity"] == "loss_variation" and combination[2] == "lr" and measured


# -- tests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLAIMS)
def test_every_specification_is_that_of_the_raw_tables(folder, found, diverged, name):
    claim, rows = CLAIMS[name], found[found["claim"] == name].to_dict("records")
    for row in rows:
        for combination in combinations_of(row):
            if has_no_width(claim, combination, folder, diverged):
                assert (row["verdict"], row["n"]) == ("not run", 0)
                assert row["reason"] == specifications.NO_WIDTH
                continue
            effects = effects_by_loop(folder, claim, combination, diverged)
            *numbers, verdict, n = judged_by_loop(effects, claim)
            shown = [row["effect"], row["ci_low"], row["ci_high"]]
            assert shown == pytest.approx(numbers, nan_ok=True, abs=1e-9), combination
            assert (row["verdict"], row["n"]) == (verdict, n), combination
            assert bool(row["reason"]) == (verdict == "not run")


@pytest.mark.parametrize("name", CLAIMS)
def test_every_combination_belongs_to_one_specification_and_no_two_are_alike(folder, found, diverged, name):
    claim, rows = CLAIMS[name], found[found["claim"] == name].to_dict("records")
    choices = CHOICES[claim["quantity"]]
    shown = [combination for row in rows for combination in combinations_of(row)]
    assert sorted(shown) == sorted(itertools.product(choices["summary"], choices["steps"], choices["grid"]))

    def effects(combination):
        if has_no_width(claim, combination, folder, diverged):
            return specifications.NO_WIDTH
        of_seeds = effects_by_loop(folder, claim, combination, diverged)
        return [None if math.isnan(effect) else effect for effect in of_seeds]

    results = [[effects(combination) for combination in combinations_of(row)] for row in rows]
    for first, *others in results:
        assert all(alike(first, other) for other in others)
    for first, second in itertools.combinations([of_row[0] for of_row in results], 2):
        assert not alike(first, second)


def alike(first, second):
    if first == second or isinstance(first, str) or isinstance(second, str):
        return first == second
    missing = [(a is None) == (b is None) for a, b in zip(first, second, strict=True)]
    pairs = [pair for pair in zip(first, second, strict=True) if None not in pair]
    return all(missing) and all(a == pytest.approx(b, rel=1e-9, abs=1e-9) for a, b in pairs)


def test_the_registered_specification_is_the_verdict_of_the_claim_exactly(folder, found):
    tables = {name: artefacts.read_table(folder / f"{name}_per_seed.csv") for name in ROWS}
    judged, _, _ = claims.judge(tables, claims=CLAIMS, quantities=QUANTITIES)
    artefacts.write_table(judged, folder / "claims.csv")
    judged = artefacts.read_table(folder / "claims.csv").set_index("claim")
    registered = found[found["registered"] == 1].set_index("claim")
    assert list(registered.index) == list(judged.index) == list(CLAIMS)
    same = ["label", "source", "compare", "expected", "margin", "n", "effect", "ci_low", "ci_high", "verdict"]
    pd.testing.assert_frame_equal(registered[same], judged[same], check_exact=True)
    assert registered["reason"].tolist() == judged["reason"].astype(object).fillna("").tolist()
    for name, row in registered.iterrows():
        quantity = QUANTITIES[CLAIMS[name]["quantity"]]
        steps = "until_converged" if quantity["until_accuracy"] else "all"
        assert (row["summary"], row["steps"], row["grid"]) == (quantity["summary"], steps, "all")


@pytest.mark.parametrize("diverged", ["no run diverged"], indirect=True)
def test_choices_that_change_nothing_are_no_specifications_of_their_own(found):
    """β at the step taken does not depend on the grid. A claim without a grid has none."""
    counted = found.groupby("claim")["grid"].agg(set)
    assert counted["claim_beta_at_lr"] == {"all"}
    assert counted["claim_shift"] == counted["claim_accuracy"] == {"all"}
    assert counted["claim_beta"] == {"all", "up_to_lr", "lr"}
    assert found.loc[found["claim"] == "claim_beta_at_lr", "coincides"].str.contains("/lr").all()
    assert (found["verdict"] == "supported").any()
    assert (found["verdict"] == "inconclusive").any()
    assert (found["n"] == 4).sum() > 60


def test_the_log_says_what_was_found_and_what_it_cost(folder, found, diverged, capsys):
    # The command ran in a fixture; it runs again, with one claim.
    settings = {
        "tables": ["training"], "grids": {}, "seeds": SEEDS, "claims": {"one": CLAIMS["claim_accuracy"]},
        "quantities": QUANTITIES, "choices": CHOICES,
    }  # fmt: skip
    table = str(folder / "training_per_seed.csv")
    file = str(folder / "again.csv")
    specifications.main(
        ["--settings", json.dumps(settings), "--tables", table, "--runs", "--specifications", file]
    )
    rows = found[found["claim"] == "claim_accuracy"]
    judged = rows[rows["verdict"] != "not run"]
    supported = (judged["verdict"] == "supported").sum()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{len(rows)} specifications in ")
    assert first.endswith(" seconds")
    assert second == f"one: supported in {supported} of {len(judged)}"


def test_without_headline_claims_the_table_is_empty(tmp_path):
    write_raw(tmp_path, {})
    runs = artefacts.read_runs(
        str(tmp_path / "training" / "{condition}" / "seed{seed}.csv"), conditions="ab", seeds=SEEDS
    )
    tables = {"training": statistics.per_seed(runs, table="training")}
    found = specifications.specify(tables, {}, claims={}, quantities={}, choices={})
    assert found.empty
    assert list(found) == specifications.COLUMNS
