"""The moments and histograms of activations against a plain loop over copied models."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from bnopt import plugins
from bnopt.probes import activations
from bnopt.run import snapshots
from bnopt.run.point import Point
from bnopt.run.run import Run

NORMS = plugins.names("norms")
LAYERS = {"#2": 1, "#3": 2, "#9": 4, "#13": 5}
UNITS, BINS, LR = 3, 7, 0.1
CPU = torch.device("cpu")


def layer_by_layer(model, inputs):
    """Return the outputs of the net and of every module, computed module by module."""
    outputs = {}
    x = inputs
    for number, layer in model.named_children():
        for name, module in layer.named_children():
            x = module(x)
            outputs[number, name] = x.detach()
    return x, outputs


def set_noise(model, seed, step):
    for name, module in model.named_modules():
        if hasattr(module, "stream"):
            module.stream = (seed, step, int(name.split(".")[0]))


def by_brute_force(run, state, step):
    """Return the outputs of batch t at θ_t, of batch t + 1 at θ_{t+1} and of batch t at θ_{t+1}."""
    before = copy.deepcopy(run.model)
    before.load_state_dict(state)
    after = copy.deepcopy(before)
    inputs, labels = run.batch(step)
    set_noise(before, run.seed, step)
    logits, now = layer_by_layer(before, inputs)
    functional.cross_entropy(logits, labels).backward()
    for parameter, moved in zip(before.parameters(), after.parameters(), strict=True):
        moved.data = moved.data - LR * parameter.grad
    following, same = copy.deepcopy(after), copy.deepcopy(after)
    set_noise(following, run.seed, step + 1)
    set_noise(same, run.seed, step)
    return now, layer_by_layer(following, run.batch(step + 1)[0])[1], layer_by_layer(same, inputs)[1]


def values_of(outputs, number, module, unit):
    return [float(v) for v in outputs[str(number), module][:, unit].flatten()]


def moments(values):
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / len(values)


def histogram(values, bins):
    low, high = min(values), max(values)
    counts = [0] * bins
    if low < high:
        for value in values:
            counts[min(int((value - low) / (high - low) * bins), bins - 1)] += 1
    return low, high, counts


def point_and_state(prepared, sizes, run_of, norm, step, seed=0):
    run = Run(prepared, **sizes, norm=norm, seed=seed, device=CPU)
    state = snapshots.read(run_of(norm, seed).folder, step, "cpu")
    return Point(run, state, step=step, lr=LR), state


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("step", [0, 8])
def test_rows_are_those_of_a_plain_loop(prepared, sizes, run_of, norm, step):
    point, state = point_and_state(prepared, sizes, run_of, norm, step)
    rows = activations.measure(point, layers=LAYERS, units=UNITS, bins=BINS)
    fresh = Run(prepared, **sizes, norm=norm, seed=0, device=CPU)
    now, following, same = by_brute_force(fresh, state, step)

    assert [(row["layer"], row["site"]) for row in rows] == [
        (layer, site) for layer in LAYERS for site in ("before_relu", "after_relu") for _ in range(UNITS)
    ]
    for row in rows:
        module = {"before_relu": "norm", "after_relu": "relu"}[row["site"]]
        where = (LAYERS[row["layer"]], module, row["unit"])
        values = values_of(now, *where)
        scale = math.sqrt(moments(values)[1]) + 1e-2
        for suffix, outputs in (("", now), ("_next", following), ("_same_batch", same)):
            mean, variance = moments(values_of(outputs, *where))
            assert row[f"mean{suffix}"] == pytest.approx(mean, abs=1e-5 * scale, rel=1e-5), (where, suffix)
            assert row[f"variance{suffix}"] == pytest.approx(variance, abs=1e-9, rel=1e-5), (where, suffix)
        low, high, counts = histogram(values, BINS)
        assert (row["low"], row["high"]) == (low, high)
        assert [row[f"bin_{i}"] for i in range(BINS)] == counts
        assert sum(counts) in (0, len(values))
        assert f"bin_{BINS}" not in row


def test_the_three_moments_of_a_unit_differ_clearly(prepared, sizes, run_of):
    point, _ = point_and_state(prepared, sizes, run_of, "none", 8)
    rows = activations.measure(point, layers=LAYERS, units=UNITS, bins=BINS)
    for moment in ("mean", "variance"):
        for a, b in (("", "_next"), ("", "_same_batch"), ("_next", "_same_batch")):
            off = [abs(row[moment + a] - row[moment + b]) / math.sqrt(row["variance"] + 1e-9) for row in rows]
            assert max(off) > 0.01


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_inputs_and_outputs_of_the_non_linearity_are_recorded(prepared, sizes, run_of, norm):
    point, _ = point_and_state(prepared, sizes, run_of, norm, 5)
    rows = activations.measure(point, layers=LAYERS, units=4, bins=BINS)
    before = {(r["layer"], r["unit"]): r for r in rows if r["site"] == "before_relu"}
    after = {(r["layer"], r["unit"]): r for r in rows if r["site"] == "after_relu"}
    assert before.keys() == after.keys()
    assert any(row["low"] < 0 for row in before.values())
    for key, row in after.items():
        assert row["low"] == max(0, before[key]["low"])
        assert row["high"] == max(0, before[key]["high"])


@pytest.mark.parametrize("norm", NORMS)
def test_a_histogram_counts_every_value_of_a_unit_that_varies(prepared, sizes, run_of, norm):
    point, _ = point_and_state(prepared, sizes, run_of, norm, 5)
    positions = {1: 64, 2: 64, 4: 16, 5: 1}
    for row in activations.measure(point, layers=LAYERS, units=4, bins=40):
        counted = sum(row[f"bin_{i}"] for i in range(40))
        expected = sizes["batch_size"] * positions[LAYERS[row["layer"]]]
        assert counted == (expected if row["low"] < row["high"] else 0)


def test_units_of_a_layer_are_the_same_at_every_step_and_in_every_condition_of_a_seed(
    prepared, sizes, run_of
):
    def units(norm, step, seed=0, wanted=3):
        point, _ = point_and_state(prepared, sizes, run_of, norm, step, seed)
        rows = activations.measure(point, layers=LAYERS, units=wanted, bins=BINS)
        return {
            (layer, site): [r["unit"] for r in rows if (r["layer"], r["site"]) == (layer, site)]
            for layer in LAYERS
            for site in ("before_relu", "after_relu")
        }

    first = units("none", 0)
    for layer in LAYERS:
        assert first[layer, "before_relu"] == first[layer, "after_relu"]
    for norm in NORMS:
        for step in (0, 7):
            assert units(norm, step) == first
    assert all(len(set(chosen)) == 3 for chosen in first.values())
    assert len({tuple(chosen) for chosen in first.values()}) > 1
    assert units("none", 0, seed=1) != first
    # A larger number of units adds units to those already chosen.
    more = units("none", 0, wanted=4)
    assert all(set(first[key]) < set(more[key]) for key in first)


def units_of(seed, layer, available, wanted):
    return Point.units(SimpleNamespace(seed=seed), layer, available, wanted).tolist()


def test_units_are_drawn_at_random_among_all():
    chosen = [units_of(seed, "#3", 10, 4) for seed in range(300)]
    counts = np.bincount(np.concatenate(chosen), minlength=10)
    assert counts.sum() == 1200
    # 300 draws of 4 out of 10 give each unit 120 ± 8.5 times.
    assert counts.min() > 120 - 5 * 8.5
    assert counts.max() < 120 + 5 * 8.5


def test_layers_of_equal_width_have_different_units():
    assert len({tuple(units_of(0, layer, 40, 5)) for layer in LAYERS}) == len(LAYERS)


def test_a_layer_with_fewer_units_than_wanted_has_all_of_them(prepared, sizes, run_of):
    point, _ = point_and_state(prepared, sizes, run_of, "none", 0)
    rows = activations.measure(point, layers={"#2": 1}, units=100, bins=BINS)
    assert [r["unit"] for r in rows if r["site"] == "before_relu"] == [0, 1, 2, 3]


def test_moments_after_batch_norm_are_beta_and_nearly_gamma_squared_by_construction(prepared, sizes, run_of):
    """For every batch the mean is β and the variance γ²σ²/(σ² + ε); σ² is that of the layer's output."""
    point, state = point_and_state(prepared, sizes, run_of, "batch", 8)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in state.items():
        if name.endswith(("norm.weight", "norm.bias")):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) + 0.5)
        if name == "2.linear.weight":  # a layer with tiny outputs, where ε has an effect
            tensor.mul_(0.003)
    rows = activations.measure(point, layers=LAYERS, units=UNITS, bins=BINS)

    model = copy.deepcopy(point.run.model)
    model.load_state_dict(state)
    _, outputs = layer_by_layer(model, point.run.batch(8)[0])
    effects = []
    for row in rows:
        if row["site"] == "before_relu":
            number, unit = LAYERS[row["layer"]], row["unit"]
            gamma, beta = (state[f"{number}.norm.{name}"][unit].item() for name in ("weight", "bias"))
            _, variance = moments(values_of(outputs, number, "linear", unit))
            effects.append(variance / (variance + 1e-5))
            assert row["mean"] == pytest.approx(beta, abs=1e-5)
            assert row["variance"] == pytest.approx(gamma**2 * effects[-1], rel=1e-4)
    assert min(effects) < 0.95
    assert max(effects) > 0.999


def test_a_unit_that_does_not_vary_has_an_empty_histogram():
    assert activations._histogram(np.full(9, 2.0), 2.0, 2.0, 5) == [0] * 5
    assert activations._histogram(np.array([1.0, np.inf]), 1.0, np.inf, 5) == [0] * 5
