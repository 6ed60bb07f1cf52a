"""First-order covariate shift: blocks of full Hessians, convergence in lr, rank one, mistakes."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from bnopt import claims, statistics
from bnopt.probes import covariate_shift, shift_is_curvature
from bnopt.quantities import shift_is_curvature as quantities
from bnopt.study import study
from unit import whole_hessian
from unit.whole_hessian import flat, of_layers, precise_point

LAYERS = {"vgg": {"#5": 2, "#10": 4}, "deep_linear": {"#9": 2, "#17": 4}}
CASES = [(task, norm) for task in LAYERS for norm in ("none", "batch", "l1", "linf")]
SMOOTH = [(task, norm) for task in LAYERS for norm in ("none", "batch")]


def rows_of(point, layers):
    return shift_is_curvature.measure(point, layers=layers, every=1, phases=1)


def first_order(point, gradient, hessian, number, **other):
    """Return the predicted columns of a layer from the full Hessian; `other`: a mistake."""
    mistake = {"rate": point.lr, "earlier": lambda n: n < number, "only": 1} | other
    own, before = (
        of_layers(point, lambda n: n == number),
        of_layers(point, mistake["earlier"]) * mistake["only"],
    )
    g = gradient[own].numpy()
    change = (hessian[own] @ (gradient * before)).numpy()
    predicted = g - mistake["rate"] * change
    squared = (gradient @ gradient).item()
    return {
        "share_before": ((gradient * before) @ gradient).item() / squared,
        "gradient_curvature": (gradient @ hessian @ gradient).item() / squared,
        "first_order_relative_difference": np.linalg.norm(predicted - g) / np.linalg.norm(g),
        "first_order_cosine": predicted @ g / np.linalg.norm(predicted) / np.linalg.norm(g),
    }


@pytest.mark.parametrize(("task", "norm"), CASES)
def test_predictions_are_those_of_the_blocks_of_the_full_hessian(prepared, task, norm):
    point = precise_point(prepared, task, norm)
    gradient, hessian = whole_hessian.of_precise_point(prepared, task, norm)
    rows = rows_of(point, LAYERS[task])
    assert [row["layer"] for row in rows] == list(LAYERS[task])
    for row, number in zip(rows, LAYERS[task].values(), strict=True):
        for name, value in first_order(point, gradient, hessian, number).items():
            assert row[name] == pytest.approx(value, rel=1e-9), name
        law = point.lr * abs(row["gradient_curvature"]) * row["share_before"]
        measured = row["relative_difference"]
        assert row["log_over_rank_one"] == pytest.approx(math.log(measured / law), abs=1e-9)
        predicted = row["first_order_relative_difference"]
        assert row["log_over_first_order"] == pytest.approx(math.log(measured / predicted), abs=1e-9)
        assert (row["phase"], row["lr"]) == (0, point.lr)


@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch"])
def test_the_measured_columns_are_those_of_the_probe_covariate_shift(point_of, task, norm):
    point = point_of(norm, 4, task=task)
    layers = {"#9": 4, "#17": 2}
    expected = {row["layer"]: row for row in covariate_shift.measure(point, layers=layers)}
    for row in rows_of(point, layers):
        for name in ("relative_difference", "cosine"):
            assert row[name] == pytest.approx(expected[row["layer"]][name], rel=1e-6)


@pytest.mark.parametrize(("task", "norm"), SMOOTH)
def test_in_smooth_nets_the_prediction_converges_at_first_order_in_lr(prepared, task, norm):
    gradient, hessian = whole_hessian.of_precise_point(prepared, task, norm, smooth=True)
    start = 0.02 / torch.linalg.eigvalsh(hessian)[-1].item()
    errors = {}
    for lr in (start, start / 2, start / 4):
        point = precise_point(prepared, task, norm, smooth=True, lr=lr)
        for row in rows_of(point, LAYERS[task]):
            errors.setdefault(row["layer"], []).append(math.expm1(row["log_over_first_order"]))
    for found in errors.values():
        assert abs(found[2]) < 0.1
        assert found[0] / found[1] == pytest.approx(2, rel=0.15)
        assert found[1] / found[2] == pytest.approx(2, rel=0.1)
    # The length alone could agree by chance: so does the whole vector.
    point = precise_point(prepared, task, norm, smooth=True, lr=start / 4)
    for number in LAYERS[task].values():
        own = of_layers(point, lambda n, layer=number: n == layer)
        before = of_layers(point, lambda n, layer=number: n < layer)
        moved = flat(point.parameters) - point.lr * gradient * before
        after = whole_hessian.gradient_at(point, norm, moved)
        change = (after - gradient)[own]
        predicted = -point.lr * (hessian[own] @ (gradient * before))
        assert (change - predicted).norm() < 0.1 * change.norm()


# -- rank one --------------------------------------------------------------------------------------


def of_rank_one(lr):
    """Return a point of the loss (aᵀx)² / 2, whose x is split into four layers of two weights."""
    a = torch.arange(1.0, 9.0, dtype=torch.float64)

    def parts(vector):
        return list(vector.split(2))

    def derivatives(parameters):
        x = torch.cat(parameters)
        return (a @ x) ** 2 / 2, parts(a * (a @ x)), lambda v: parts(a * (a @ torch.cat(v)))

    return SimpleNamespace(
        run=SimpleNamespace(fast_pass=True),
        own=lambda number: [number - 1],
        value_and_gradient=lambda parameters: derivatives(parameters)[:2],
        value_gradient_and_hessian=derivatives,
        parameters=parts(torch.ones(8, dtype=torch.float64)),
        lr=lr,
        step=0,
    )


@pytest.mark.parametrize("edges", [0.2, 0.9, 1.5, 2.0])
def test_where_the_hessian_has_rank_one_along_the_gradient_the_law_is_exact(edges):
    """κ = ‖a‖² = 204; the cosine turns where lr κ s passes 1."""
    rows = rows_of(of_rank_one(edges * 2 / 204), {"#2": 2, "#3": 3, "#4": 4})
    for row, share in zip(rows, (5 / 204, 30 / 204, 91 / 204), strict=True):
        law = 2 * edges * share
        assert row["gradient_curvature"] == pytest.approx(204)
        assert row["share_before"] == pytest.approx(share)
        assert row["relative_difference"] == pytest.approx(law)
        assert row["cosine"] == pytest.approx(math.copysign(1, 1 - law))
        assert row["first_order_cosine"] == pytest.approx(row["cosine"])
        assert row["log_over_first_order"] == pytest.approx(0, abs=1e-9)
        assert row["log_over_rank_one"] == pytest.approx(0, abs=1e-9)
    assert rows[-1]["cosine"] == pytest.approx(1 if edges < 1.12 else -1)


def test_layer_1_has_nothing_before_it():
    (row,) = rows_of(of_rank_one(0.01), {"#1": 1})
    assert (row["share_before"], row["relative_difference"], row["cosine"]) == (0, 0, pytest.approx(1))
    assert math.isnan(row["log_over_first_order"])
    assert math.isnan(row["log_over_rank_one"])


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
def test_mistakes_give_other_predictions(prepared, task):
    # At a rate at which the law gives a change as long as the gradient: signs count too.
    point = precise_point(prepared, task, "batch", lr={"vgg": 10, "deep_linear": 1e-3}[task])
    number = 3
    (row,) = rows_of(point, {"": number})
    derivatives = whole_hessian.of_precise_point(prepared, task, "batch")
    evaluation = whole_hessian.gradient_and_hessian(point, "batch", evaluation=True)
    named = zip(point.names, point.parameters, strict=True)
    without_norms = torch.cat([torch.full((p.numel(),), ".norm." not in name) for name, p in named])
    mistakes = {
        "the layer itself moves": {"earlier": lambda n: n <= number},
        "all layers move": {"earlier": lambda n: True},
        "only the layer before moves": {"earlier": lambda n: n == number - 1},
        "the layers after move": {"earlier": lambda n: n > number},
        "γ and β stay": {"only": without_norms},
        "no learning rate": {"rate": 1},
        "twice the learning rate": {"rate": 2 * point.lr},
        "uphill": {"rate": -point.lr},
    }
    wrong = {name: first_order(point, *derivatives, number, **of) for name, of in mistakes.items()}
    wrong["evaluation mode"] = first_order(point, *evaluation, number)
    if task == "vgg":
        other = whole_hessian.gradient_and_hessian(point, "batch", step=point.step + 1)
        wrong["another batch"] = first_order(point, *other, number)
    for mistake, values in wrong.items():
        off = [
            abs(values[f"first_order_{name}"] - row[f"first_order_{name}"])
            for name in ("relative_difference", "cosine")
        ]
        assert max(off) > 1e-3 * row["first_order_relative_difference"], mistake


# -- phases, steps, and quantities -----------------------------------------------------------------


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_second_phase_is_the_first_of_the_next_snapshot(point_of, norm):
    settings = {"layers": {"#9": 2, "#17": 4}, "every": 1}
    rows = shift_is_curvature.measure(point_of(norm, 4, task="deep_linear"), phases=2, **settings)
    following = shift_is_curvature.measure(point_of(norm, 5, task="deep_linear"), phases=1, **settings)
    assert [(row["phase"], row["layer"]) for row in rows] == [(0, "#9"), (0, "#17"), (1, "#9"), (1, "#17")]
    assert [row | {"phase": 0} for row in rows[2:]] == following
    assert (
        shift_is_curvature.measure(point_of(norm, 5, task="deep_linear"), phases=1, **settings | {"every": 2})
        == []
    )


def test_quantities_are_means_over_phases(point_of):
    point = point_of("batch", 4, task="deep_linear")
    rows = shift_is_curvature.measure(point, layers={"#9": 2, "#17": 4}, every=1, phases=2)
    table = pd.DataFrame(rows).assign(condition="c", seed=0, step=4)
    found = {row["layer"]: row for row in quantities.per_step(table).to_dict("records")}
    assert set(found) == {"#9", "#17"}
    for first, second in zip(rows[:2], rows[2:], strict=True):
        for name in set(first) - {"phase", "lr", "layer"}:
            expected = (first[name] + second[name]) / 2
            assert found[first["layer"]][name] == pytest.approx(expected, rel=1e-12)


# -- the sign of the cosine ------------------------------------------------------------------------


def random_table(*, curvature=(0, 3), seeds=(0, 5)):
    """Return rows of the probe with lr κ drawn from a range; one cosine is missing."""
    random = np.random.default_rng(3)
    rows = []
    for seed, step, phase in itertools.product(seeds, range(0, 45, 3), (0, 1)):
        kappa = random.uniform(*curvature) / 1e-6
        for layer, mean in {"#5": 0.6, "#9": 0.1, "#17": -0.7}.items():
            row = {"condition": "c", "seed": seed, "step": step, "phase": phase, "layer": layer, "lr": 1e-6}
            row |= {"gradient_curvature": kappa, "share_before": random.uniform()}
            rows.append(row | {"cosine": np.clip(random.normal(mean, 0.5), -1, 1)})
    rows[7]["cosine"] = math.nan
    return pd.DataFrame(rows).sample(frac=1, random_state=1)


def signs_slowly(table):
    """Return seed -> shares of right signs over its rows, by the law and by the better constant per layer."""
    found = {}
    for seed in sorted(set(table["seed"])):
        rows, of_law, of_constants = 0, 0, {}
        for row in table.to_dict("records"):
            edges = row["lr"] * row["gradient_curvature"]
            if row["seed"] != seed or edges < 1 or math.isnan(row["cosine"]):
                continue
            rows += 1
            of_law += row["cosine"] * (1 - edges * row["share_before"]) > 0
            counts = of_constants.setdefault(row["layer"], {"+": 0, "-": 0})
            counts["+"] += row["cosine"] > 0
            counts["-"] += row["cosine"] < 0
        best = sum(max(counts.values()) for counts in of_constants.values())
        found[seed] = (of_law / rows, best / rows) if rows else (math.nan, math.nan)
    return found


def test_signs_are_counted_over_rows_where_the_law_can_give_both():
    table = random_table()
    # A cosine of 0 has neither sign; a run may have no row that counts; layers may count unequally often.
    table.loc[table.index[5], "cosine"] = 0.0
    table.loc[(table["layer"] == "#9") & (table["step"] > 9), "gradient_curvature"] = 0.5e6
    flat = table[table["seed"] == 5].assign(seed=9, gradient_curvature=0.9e6)
    table = pd.concat([table, flat], ignore_index=True)
    expected = signs_slowly(table)
    found = quantities.per_step(table)
    assert len(found) == len(table) / 2
    for seed, (law, constant) in expected.items():
        of_run = found[found["seed"] == seed]
        for name, value in (
            ("law_is_right", law),
            ("constant_is_right", constant),
            ("law_over_constant", law - constant),
        ):
            assert of_run[name].tolist() == pytest.approx([value] * len(of_run), nan_ok=True), (seed, name)
    assert {seed for seed, (law, _) in expected.items() if math.isnan(law)} == {9}
    assert 0 < expected[0][0] < 1
    assert expected[0] != expected[5]


def test_every_row_counts_alike():
    """Three rows at one step weigh three times as much as one at another: not a mean over steps or layers."""
    signs = [(0, 0, "#5", 1), (0, 1, "#5", 1), (0, 0, "#9", 1), (3, 0, "#5", -1)]
    common = {"condition": "c", "seed": 0, "lr": 1e-6, "gradient_curvature": 1e6, "share_before": 0.5}
    keys = ("step", "phase", "layer", "cosine")
    table = pd.DataFrame([common | dict(zip(keys, values, strict=True)) for values in signs])
    found = quantities.per_step(table).iloc[0]
    assert (found["law_is_right"], found["constant_is_right"], found["law_over_constant"]) == (0.75, 0.75, 0)
    table["share_before"] = [0.5, 0.5, 0.5, 2]
    found = quantities.per_step(table).iloc[0]
    assert (found["law_is_right"], found["constant_is_right"], found["law_over_constant"]) == (1, 0.75, 0.25)


@pytest.mark.parametrize(("turn", "expected"), [(0.5, 0.5), (0.9, 0.0)])
def test_the_law_gains_where_the_cosine_turns(turn, expected):
    """Half of the shares lie above 0.5, none above 0.9; with lr κ = 1/turn the cosine turns there."""
    table = random_table(curvature=(1 / turn, 1 / turn))
    table = table[table["step"] < 42]
    table["share_before"] = np.where(table["step"] % 2, 0.2, 0.8)
    table["cosine"] = np.where(table["share_before"] < turn, 0.7, -0.7)
    found = quantities.per_step(table)
    assert (found["law_is_right"] == 1).all()
    assert found["law_over_constant"].tolist() == pytest.approx([expected] * len(found))
    opposite = quantities.per_step(table.assign(cosine=-table["cosine"]))
    assert (opposite["law_is_right"] == 0).all()
    assert opposite["law_over_constant"].tolist() == pytest.approx([expected - 1] * len(found))


def judged(table, config):
    """Return the verdict on the sign of deep_linear_batch from a table of the probe."""
    claim = study.written_out(config | {"parts": "all"})["claims"]["shift_has_sign_of_law_batch"]
    quantity = study.written_out(config | {"parts": "all"})["quantities"][claim["quantity"]]
    values = statistics.per_seed([table.assign(condition="deep_linear_batch")], table="shift_is_curvature")
    curves = values[["condition", "seed", "step"]].drop_duplicates()
    curves = curves.assign(layer="", loss=1.0, accuracy=math.nan, diverged=0)
    tables = {"training": curves, "shift_is_curvature": values}
    claims_table, _, per_seed = claims.judge(
        tables, claims={"c": claim}, quantities={claim["quantity"]: quantity}
    )
    return claims_table.iloc[0], per_seed["effect"]


def test_the_claim_is_a_difference_of_shares_over_rows(config):
    table = random_table(seeds=(0, 5, 6))
    row, effects = judged(table, config)
    expected = [law - constant for law, constant in signs_slowly(table).values()]
    assert effects.tolist() == pytest.approx(expected)
    assert row["n"] == 3
    assert (row["margin"], row["compare"], row["expected"]) == (0, "difference", "greater")


def test_below_the_least_curvature_the_claim_is_not_run(config):
    row, effects = judged(random_table(curvature=(0, 0.99)), config)
    assert row["verdict"] == "not run"
    assert row["reason"] == "an interval needs at least 2 seeds with a value of both conditions, found 0"
    assert effects.isna().all()
