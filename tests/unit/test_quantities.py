"""From the tables of runs to quantities per step, against loops over hand-made rows."""

import math
import statistics

import numpy as np
import pandas as pd
import pytest

from bnopt import rate_spread
from bnopt.quantities import (
    activations,
    along_gradient,
    curvature,
    other_definitions,
    random_directions,
    shift_is_curvature,
    theorems,
    training,
)
from bnopt.quantities import rate_spread as spread_quantities

INF, NAN = math.inf, math.nan


def same(found, expected):
    """Return whether two numbers agree; two missing numbers agree."""
    if expected is None or math.isnan(expected):
        return math.isnan(found)
    return found == expected or found == pytest.approx(expected, rel=1e-12)


# -- along the gradient ---------------------------------------------------------------------------


def landscape(grids, lr=0.1, sizes=(0.5, 1, 2)):
    """Return a table from (condition, seed, step) -> (length of the gradient, losses, changes)."""
    return pd.DataFrame(
        [
            {
                "condition": condition,
                "seed": seed,
                "step": step,
                "lr": lr,
                "eta": size * lr,
                "loss": loss,
                "gradient_change": change,
                "gradient_length": length,
            }
            for (condition, seed, step), (length, losses, changes) in grids.items()
            for size, loss, change in zip(sizes, losses, changes, strict=True)
        ]
    )


def landscape_by_loop(length, losses, changes, lr=0.1, sizes=(0.5, 1, 2)):
    losses = [v if math.isfinite(v) else INF for v in losses]
    changes = [v if math.isfinite(v) else INF for v in changes]
    betas = [c / (s * lr * length) if length else NAN for c, s in zip(changes, sizes, strict=True)]
    return {
        "loss_min": min(losses),
        "loss_max": max(losses),
        "loss_variation": max(losses) - min(losses) if max(losses) < INF else INF,
        "predictiveness_min": min(changes),
        "predictiveness": max(changes),
        "beta": max(betas),
        "beta_at_lr": betas[list(sizes).index(1)],
        "beta_at_lr_in_edges": betas[list(sizes).index(1)] / (2 / lr),
        "gradient_length": length,
        **{f"gradient_change_at_{size:g}": change for size, change in zip(sizes, changes, strict=True)},
    }


GRIDS = {
    ("a", 0, 0): (2.0, [1.0, 0.5, 0.8], [0.1, 0.3, 0.2]),
    ("a", 0, 10): (4.0, [3.0, 2.0, 5.0], [2.0, 1.0, 0.5]),
    ("a", 1, 0): (0.5, [0.1, 0.2, 0.3], [1.0, 5.0, 2.0]),
    ("b", 0, 0): (1.0, [-1.0, -3.0, 2.0], [0.0, 0.0, 4.0]),
}
BROKEN = {
    "loss infinite at the largest step": (1.0, [1.0, 2.0, INF], [1.0, 2.0, 3.0]),
    "loss not a number in the middle": (1.0, [1.0, NAN, 3.0], [1.0, 2.0, 3.0]),
    "gradient infinite at the largest step": (1.0, [1.0, 2.0, 3.0], [1.0, 2.0, INF]),
    "gradient not a number at the largest step": (1.0, [1.0, 2.0, 3.0], [1.0, 2.0, NAN]),
    "gradient infinite at the learning rate": (1.0, [1.0, 2.0, 3.0], [1.0, INF, 3.0]),
    "gradient not a number at the learning rate": (1.0, [1.0, 2.0, 3.0], [1.0, NAN, 3.0]),
    "nothing finite": (1.0, [INF, NAN, NAN], [NAN, NAN, NAN]),
}


def test_extrema_along_the_gradient_are_those_of_a_loop():
    found = along_gradient.per_step(landscape(GRIDS))
    assert len(found) == len(GRIDS)
    for row in found.to_dict("records"):
        expected = landscape_by_loop(*GRIDS[row["condition"], row["seed"], row["step"]])
        assert set(row) == {"condition", "seed", "step", *expected}
        for name, value in expected.items():
            assert same(row[name], value), (row, name)


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_not_finite_along_the_gradient_counts_as_infinite(case):
    found = along_gradient.per_step(landscape(GRIDS | {("c", 0, 0): BROKEN[case]}))
    (row,) = found[found["condition"] == "c"].to_dict("records")
    for name, value in landscape_by_loop(*BROKEN[case]).items():
        assert same(row[name], value), name
    others = found[found["condition"] != "c"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, along_gradient.per_step(landscape(GRIDS)))


def test_a_gradient_of_zero_has_no_beta():
    (row,) = along_gradient.per_step(landscape({("a", 0, 0): (0.0, [1.0] * 3, [0.0] * 3)})).to_dict("records")
    assert math.isnan(row["beta"])
    assert math.isnan(row["beta_at_lr"])
    assert row["predictiveness"] == row["loss_variation"] == 0


def test_a_gradient_of_zero_has_no_beta_even_if_it_changes():
    grid = (0.0, [1.0] * 3, [0.0, 1e-9, 2.0])
    (row,) = along_gradient.per_step(landscape({("a", 0, 0): grid})).to_dict("records")
    assert math.isnan(row["beta"])
    assert math.isnan(row["beta_at_lr"])
    assert row["predictiveness"] == 2.0


@pytest.mark.parametrize("lr", [0.1, 0.5, 1e-6, 1e-7, 1e-9])
def test_beta_at_the_learning_rate_is_found_at_any_rate(lr):
    sizes = (0.01, 0.03, 0.1, 0.3, 0.5, 1, 1.5, 3, 10)
    grid = (2.0, [1.0] * 9, [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 30.0, 2.0, 1.0])
    (row,) = along_gradient.per_step(landscape({("a", 0, 0): grid}, lr, sizes)).to_dict("records")
    assert row["beta_at_lr"] == pytest.approx(4.0 / (lr * 2.0))
    assert row["beta_at_lr_in_edges"] == pytest.approx(1.0)
    assert row["beta"] == pytest.approx(9.0 / (0.01 * lr * 2.0))


def test_changes_are_named_by_their_step_sizes_in_the_order_of_the_probe():
    sizes = (10, 0.01, 1, 1.5, 1.25)
    grid = (2.0, [1.0] * 5, [5.0, 1.0, 3.0, 4.0, 3.5])
    found = along_gradient.per_step(landscape({("a", 0, 0): grid}, 1e-7, sizes))
    changes = found.filter(like="gradient_change_at_")
    assert list(changes) == [f"gradient_change_at_{size}" for size in ("10", "0.01", "1", "1.5", "1.25")]
    assert changes.iloc[0].tolist() == grid[2]


# -- along random directions, and definitions of others -------------------------------------------


def test_quantities_of_random_directions_are_means_over_the_directions():
    directions = {
        "0+": (2.0, [1.0, 0.5, 0.8], [0.1, 0.3, 0.2]),
        "0-": (2.0, [2.0, 4.0, 3.0], [0.5, 0.4, 0.6]),
        "1+": (2.0, [1.5, 1.0, 9.0], [2.0, 3.0, 7.0]),
    }
    of_step = {
        step: {
            name: (length, [v * step for v in losses], changes)
            for name, (length, losses, changes) in of.items()
        }
        for step, of in ((10, directions), (20, directions))
    }
    table = pd.concat(
        landscape({("a", 0, step): grid}).assign(direction=name)
        for step, grids in of_step.items()
        for name, grid in grids.items()
    )
    found = random_directions.per_step(table)
    assert found["step"].tolist() == [10, 20]
    for row in found.to_dict("records"):
        loops = [landscape_by_loop(*grid) for grid in of_step[row["step"]].values()]
        expected = [name for name in loops[0] if not name.startswith("gradient_change_at")]
        assert set(row) == {"condition", "seed", "step", *expected}
        for name in expected:
            assert same(row[name], math.fsum(loop[name] for loop in loops) / 3), name


def test_one_direction_that_is_infinite_makes_the_mean_infinite():
    grids = {"0+": (1.0, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), "0-": BROKEN["nothing finite"]}
    table = pd.concat(landscape({("a", 0, 0): grid}).assign(direction=name) for name, grid in grids.items())
    (row,) = random_directions.per_step(table).to_dict("records")
    assert all(math.isinf(row[name]) for name in ("loss_variation", "predictiveness", "beta", "beta_at_lr"))


def test_values_of_other_definitions_that_are_not_finite_count_as_infinite():
    values = {
        "predictiveness_evaluation": [1.0, NAN],
        "beta_evaluation": [INF, 2.0],
        "consecutive_change": [NAN, 3.0],
    }
    table = pd.DataFrame({"condition": "a", "seed": 0, "step": [0, 5], **values})
    expected = table.assign(
        predictiveness_evaluation=[1.0, INF], beta_evaluation=[INF, 2.0], consecutive_change=[INF, 3.0]
    )
    pd.testing.assert_frame_equal(other_definitions.per_step(table), expected)


# -- the spread over rates ------------------------------------------------------------------------

# Losses of three runs by step; the row of a run ends where the run stops.
SPREADS = {
    "all finite": [[2.0, 1.0, 3.0], [2.5, 0.5, 1.0], [2.25, 0.75, 0.5]],
    "missing in the first run": [[2.0, NAN, 3.0], [2.5, 0.5, 1.0], [2.25, 0.75, 0.5]],
    "missing in the middle run": [[2.0, 1.0, 3.0], [2.5, NAN, 1.0], [2.25, 0.75, 0.5]],
    "missing in the last run": [[2.0, 1.0, 3.0], [2.5, 0.5, 1.0], [2.25, 0.75, NAN]],
    "missing in all but one": [[2.0, NAN, 3.0], [2.5, NAN, 1.0], [2.25, 0.75, 0.5]],
    "infinite in one": [[2.0, 1.0, 3.0], [2.5, INF, 1.0], [2.25, 0.75, 0.5]],
    "infinite in all": [[2.0, INF, 3.0], [2.5, INF, 1.0], [2.25, INF, 0.5]],
    "missing in all": [[2.0, 1.0, NAN], [2.5, 0.5, NAN], [2.25, 0.75, NAN]],
    "one run stops": [[2.0, 1.0, 3.0], [2.5, 0.5, 1.0], [2.25]],
}


def spread_by_loop(losses):
    """Return (step, smallest loss, largest, their difference) of the steps at which some run has a loss."""
    rows = []
    for step in range(3):
        found = [run[step] for run in losses if step < len(run) and not math.isnan(run[step])]
        if found:
            # A run without a loss has diverged: its loss counts as infinite.
            found += [INF] * (len(losses) - len(found))
            low, high = min(found), max(found)
            rows.append((step, low, high, INF if math.isinf(high) else high - low))
    return rows


@pytest.mark.parametrize("case", SPREADS)
def test_a_missing_loss_makes_the_spread_over_rates_infinite(case):
    curves = [pd.DataFrame({"step": range(len(run)), "loss": run}) for run in SPREADS[case]]
    table = rate_spread.spread(curves)
    values = spread_quantities.per_step(table.assign(condition="c", seed=0))
    assert list(values) == ["condition", "seed", "step", "loss_variation"]
    found = zip(table["step"], table["loss_min"], table["loss_max"], values["loss_variation"], strict=True)
    assert list(found) == spread_by_loop(SPREADS[case])


# -- activations ----------------------------------------------------------------------------------


def moments_table(seed=0, sites=("before_relu", "after_relu")):
    random = np.random.default_rng(seed)
    rows = []
    for condition in ("a", "b"):
        for run in (0, 1):
            for step in (0, 5, 10):
                for layer in ("#2", "#10"):
                    for site in sites:
                        for unit in (7, 3, 5):
                            means, variances = random.normal(size=3), random.uniform(0.1, 2, size=3)
                            rows.append(
                                {
                                    "condition": condition,
                                    "seed": run,
                                    "step": step,
                                    "layer": layer,
                                    "site": site,
                                    "unit": unit,
                                    **dict(zip(("mean", "mean_next", "mean_same_batch"), means, strict=True)),
                                    **dict(
                                        zip(
                                            ("variance", "variance_next", "variance_same_batch"),
                                            variances,
                                            strict=True,
                                        )
                                    ),
                                    "low": -1.0,
                                    "high": 1.0,
                                    "bin_0": 3,
                                    "bin_1": 4,
                                }
                            )
    return pd.DataFrame(rows)


def mean_of(values):
    """Return the mean of the numbers that are not missing."""
    values = [v for v in values if not math.isnan(v)]
    return math.fsum(values) / len(values) if values else NAN


def activations_by_loop(table):
    """Return (condition, seed, layer, step) -> quantities."""
    records = table.to_dict("records")
    found, sigmas = {}, {}
    for row in records:
        key = (row["condition"], row["seed"], row["layer"], row["step"])
        suffix = "" if row["site"] == "before_relu" else "_after_relu"
        (first,) = [
            r
            for r in records
            if all(r[k] == row[k] for k in ("condition", "seed", "layer", "site", "unit")) and r["step"] == 0
        ]
        for moment in ("mean", "variance"):
            scale = math.sqrt(row["variance"]) if moment == "mean" else row["variance"]
            for kind, column in (("", "next"), ("_same_batch", "same_batch")):
                change = abs(row[f"{moment}_{column}"] - row[moment])
                for name, value in (
                    ("change", change),
                    ("relative_change", change / scale if scale > 0 else NAN),
                ):
                    at = found.setdefault(key, {}).setdefault(f"{moment}_{name}{kind}{suffix}", [])
                    at.append(value)
            found[key].setdefault(f"{moment}_drift{suffix}", []).append(row[moment] - first[moment])
        sigmas.setdefault((key, suffix), []).append(math.sqrt(row["variance"]))
    quantities = {key: {name: mean_of(values) for name, values in of.items()} for key, of in found.items()}
    for (key, suffix), values in sigmas.items():
        quantities[key] |= {
            f"sigma{suffix}": statistics.median(values),
            f"sigma_min{suffix}": min(values),
            f"sigma_max{suffix}": max(values),
        }
    return quantities


def assert_activations(table):
    found = activations.per_step(table)
    expected = activations_by_loop(table)
    assert len(found) == len(expected)
    for row in found.to_dict("records"):
        quantities = expected[row["condition"], row["seed"], row["layer"], row["step"]]
        assert set(row) == {"condition", "seed", "layer", "step", *quantities}
        for name, value in quantities.items():
            assert same(row[name], value), (row, name)


def test_changes_of_activations_are_those_of_a_loop():
    assert_activations(moments_table())


def test_the_order_of_rows_does_not_matter():
    table = moments_table()
    order = np.random.default_rng(1).permutation(len(table))
    first_site = (table["site"] == "after_relu").to_numpy()[order]
    order = np.concatenate([order[~first_site], order[first_site]])
    pd.testing.assert_frame_equal(
        activations.per_step(table.iloc[order]), activations.per_step(table), rtol=1e-12
    )


def test_steps_are_ordered_as_numbers_and_drift_is_from_the_first():
    table = moments_table()
    table["step"] = table["step"].replace({5: 9, 10: 100})
    assert_activations(table)
    found = activations.per_step(table)
    assert (found.loc[found["step"] == 0, ["mean_drift", "variance_drift_after_relu"]] == 0).all(axis=None)
    assert found["step"].unique().tolist() == [0, 9, 100]


def test_a_unit_that_does_not_vary_has_a_change_but_no_relative_change():
    table = moments_table()
    table.loc[(table["unit"] == 3) & (table["step"] == 5), "variance"] = 0.0
    assert_activations(table)
    table.loc[(table["layer"] == "#2") & (table["step"] == 5), "variance"] = 0.0
    assert_activations(table)
    found = activations.per_step(table)
    dead = found[(found["layer"] == "#2") & (found["step"] == 5)]
    assert dead[["mean_relative_change", "variance_relative_change"]].isna().all(axis=None)
    assert dead[["mean_change", "variance_change"]].notna().all(axis=None)


def test_moments_that_are_not_finite_stay_where_they_are():
    table = moments_table()
    at = (table["condition"] == "b") & (table["step"] == 10) & (table["layer"] == "#10")
    table.loc[at & (table["unit"] == 7), ["mean_next", "variance_next"]] = INF
    assert_activations(table)
    found = activations.per_step(table)
    infinite = np.isinf(found["mean_relative_change"])
    assert infinite.equals((found["condition"] == "b") & (found["step"] == 10) & (found["layer"] == "#10"))


def test_the_first_site_alone_gives_names_without_a_suffix():
    table = moments_table(sites=("before_relu",))
    assert_activations(table)
    assert not any("relu" in column for column in activations.per_step(table))


# -- means over phases and units ------------------------------------------------------------------


def measured(over, columns, *, layers):
    """Return a table of two conditions, runs and steps with three rows per phase or unit, at random."""
    random = np.random.default_rng(4)
    rows = [
        {"condition": condition, "seed": seed, "step": step, "lr": {"a": 0.5, "b": 1e-6}[condition]}
        | ({"layer": layer} if layers else {})
        | {over: number, **{column: random.lognormal() for column in columns}}
        for condition in "ab"
        for seed in (10, 2)
        for step in (0, 20, 5)
        for layer in (("#2", "#10") if layers else ("",))
        for number in (0, 1, 2)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


@pytest.mark.parametrize(
    ("module", "over", "columns", "layers"),
    [
        (curvature, "phase", [*curvature.CURVATURES, "alignment"], False),
        (shift_is_curvature, "phase", ["gradient_curvature", "share_before", "cosine"], True),
        (theorems, "unit", ["thm4.1_mean_share", "sigma"], True),
    ],
    ids=["curvature", "shift_is_curvature", "theorems"],
)
def test_values_per_step_are_means_over_phases_or_units(module, over, columns, layers):
    table = measured(over, columns, layers=layers)
    if module is theorems:
        table = table.drop(columns="lr")
    keys = ["condition", "seed", *(["layer"] if layers else []), "step"]
    groups = {}
    for row in table.to_dict("records"):
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    found = module.per_step(table).to_dict("records")
    assert len(found) == len(groups)
    for row in found:
        of_step = groups[tuple(row[key] for key in keys)]
        assert len(of_step) == 3
        expected = {column: math.fsum(r[column] for r in of_step) / 3 for column in columns}
        if module is curvature:
            # Gradient descent stops being stable where the curvature is 2/lr.
            edge = 2 / of_step[0]["lr"]
            names = ["sharpness", "lowest", "gradient_curvature", "hessian_gradient", "trace", "trace_error"]
            expected |= {f"{name}_in_edges": expected[name] / edge for name in names}
        # How often the sign of the cosine is right has tests of its own.
        signs = {name for name in row if name.endswith("_is_right") or name == "law_over_constant"}
        assert set(row) - signs == {*keys, *expected}
        for name, value in expected.items():
            assert row[name] == pytest.approx(value), name


# -- training -------------------------------------------------------------------------------------


def curve(condition, seed, *, diverged_at=None, steps=6, test_every=2, chance=0.25):
    """Return a curve as training records it; every accuracy has another value."""
    rows = []
    for step in range(steps + 1):
        gone = diverged_at is not None and step >= diverged_at
        tested = step % test_every == 0 or step == steps
        rows.append(
            {
                "condition": condition,
                "seed": seed,
                "step": step,
                "loss": INF if gone else NAN if step == steps else 2.0 - 0.1 * step,
                "accuracy": NAN if gone or step == steps else 0.5 + 0.01 * step,
                "test_accuracy": 0.4 + 0.01 * step if tested and not gone else NAN,
                "chance": chance,
                "diverged": int(gone),
            }
        )
    return pd.DataFrame(rows)


def test_curves_of_runs_that_went_well_pass_unchanged():
    table = pd.concat([curve("a", 0), curve("b", 0)], ignore_index=True)
    pd.testing.assert_frame_equal(training.per_step(table), table)


@pytest.mark.parametrize("diverged_at", [0, 1, 3, 4, 5])
def test_after_divergence_accuracy_is_chance_and_test_accuracy_too_where_runs_are_tested(diverged_at):
    table = pd.concat([curve("a", 0), curve("a", 1, diverged_at=diverged_at)], ignore_index=True)
    found = training.per_step(table)
    for row, given in zip(found.to_dict("records"), table.to_dict("records"), strict=True):
        for name in ("condition", "seed", "step", "loss", "chance", "diverged"):
            assert same(row[name], given[name]) if name == "loss" else row[name] == given[name]
        if given["diverged"] and row["step"] < 6:
            assert row["accuracy"] == 0.25
        elif not given["diverged"]:
            assert same(row["accuracy"], given["accuracy"])
        tested = row["step"] in (0, 2, 4, 6)
        assert same(row["test_accuracy"], 0.25 if given["diverged"] and tested else given["test_accuracy"])


def test_every_run_diverged_is_still_tested_after_the_last_step():
    found = training.per_step(curve("a", 0, diverged_at=0))
    assert same(found["test_accuracy"].iloc[-1], 0.25)
    assert found["test_accuracy"].iloc[:-1].isna().all()
    assert (found["accuracy"].iloc[:-1] == 0.25).all()


def test_a_diverged_run_has_a_training_accuracy_at_the_same_steps_as_any_other():
    """The last row sees no batch: an accuracy there would be a mean over diverged runs alone."""
    table = pd.concat([curve("a", 0), curve("a", 1, diverged_at=3)], ignore_index=True)
    found = training.per_step(table)
    steps = [run.loc[run["accuracy"].notna(), "step"].tolist() for _, run in found.groupby("seed")]
    assert steps[0] == list(range(6))
    assert steps[1] == steps[0]


def test_the_given_table_is_left_alone():
    tables = {
        training: pd.concat([curve("a", 0), curve("a", 1, diverged_at=1)], ignore_index=True),
        along_gradient: landscape(GRIDS | {("c", 0, 0): BROKEN["nothing finite"]}),
        activations: moments_table(),
    }
    for module, table in tables.items():
        before = table.copy(deep=True)
        module.per_step(table)
        pd.testing.assert_frame_equal(table, before)


def test_the_first_site_is_that_of_each_task():
    """A table holds conditions of two tasks, whose sites have different names."""
    shared = {"seed": 0, "layer": "#1", "step": 0, "unit": 0, "low": 0.0, "high": 1.0}
    moments = {"mean": 1.0, "mean_next": 1.5, "mean_same_batch": 1.0, "variance_next": 4.0}
    moments |= {"variance_same_batch": 4.0}
    rows = [
        shared | moments | {"condition": condition, "site": site, "variance": variance}
        for condition, site, variance in [
            ("a", "before_relu", 4.0), ("a", "after_relu", 9.0),
            ("b", "layer_output", 16.0), ("b", "norm_output", 25.0),
        ]
    ]  # fmt: skip
    values = activations.per_step(pd.DataFrame(rows)).set_index("condition")
    assert values["sigma"].to_dict() == {"a": 2.0, "b": 4.0}
    assert values["mean_relative_change"].to_dict() == {"a": 0.25, "b": 0.125}
    assert values.loc["a", "sigma_after_relu"] == 3.0
    assert values.loc["b", "sigma_norm_output"] == 5.0
    assert np.isnan(values.loc["b", "sigma_after_relu"])
