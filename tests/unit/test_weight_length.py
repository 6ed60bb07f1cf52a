"""The length of weights: the definition, the identity of batch normalisation, and units of smoothness."""

import math

import pandas as pd
import pytest
import torch
from torch.nn import functional

from bnopt.probes import weight_length
from bnopt.quantities import weight_length as quantities
from unit import whole_hessian
from unit.whole_hessian import of_layers, precise_point


def literal(point, number):
    """Return the columns of one layer by an ordinary backward pass."""
    leaves = [p.clone().requires_grad_() for p in point.parameters]
    point.loss(leaves).backward()
    leaf = leaves[point.names.index(f"{number}.linear.weight")]
    w, g = leaf.detach().double().flatten(), leaf.grad.double().flatten()
    return {
        "weight_length": w.norm().item(),
        "gradient_length": g.norm().item(),
        "effective_rate": point.lr / (w @ w).item(),
        "cosine": (w @ g / w.norm() / g.norm()).item(),
    }


@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch"])
def test_columns_are_those_of_an_ordinary_pass(point_of, task, norm):
    point = point_of(norm, 4, task=task)
    layers = {"#9": 4, "#1": 1, "#5": 2}
    rows = weight_length.measure(point, layers=layers)
    assert [row["layer"] for row in rows] == list(layers)
    for row, number in zip(rows, layers.values(), strict=True):
        for name, value in literal(point, number).items():
            assert row[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def unit_outputs(point, number):
    """Return the outputs of a layer's linear map, a row per unit."""
    (output,) = point.outputs(point.parameters, [f"{number}.linear"], step=point.step).values()
    return output.transpose(0, 1).flatten(1)


@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_batch_norm_leaves_of_the_radial_gradient_what_its_epsilon_allows(prepared, task, eps):
    """⟨w_j, g_j⟩ = γ_j (∂L/∂γ_j) ε / (σ_j² + ε) and ∂L/∂b_j = 0, for every unit j."""
    point = precise_point(prepared, task, "batch")
    point.run.fast_pass = None
    for layer in point.run.model:
        if hasattr(layer, "norm"):
            layer.norm.eps = eps
    _, gradient = point.value_and_gradient(point.parameters)
    of = dict(zip(point.names, zip(point.parameters, gradient, strict=True), strict=True))
    for number in (1, 2, 3):
        w, g = (t.flatten(1) for t in of[f"{number}.linear.weight"])
        gamma, of_gamma = of[f"{number}.norm.weight"]
        variance = unit_outputs(point, number).var(1, correction=0)
        expected = gamma * of_gamma * eps / (variance + eps)
        tolerance = 1e-12 * (w.norm(dim=1) * g.norm(dim=1)).max().item()
        torch.testing.assert_close((w * g).sum(1), expected, rtol=1e-9, atol=tolerance)
        for mistake in (of_gamma * eps / (variance + eps), gamma * of_gamma * eps / variance):
            if eps > 0.1:
                assert not torch.allclose((w * g).sum(1), mistake, rtol=1e-3)
        if f"{number}.linear.bias" in of:
            assert of[f"{number}.linear.bias"][1].abs().max() < 1e-12 * g.norm()
    rows = weight_length.measure(point, layers={"#1": 1})
    w, g = of["1.linear.weight"]
    assert rows[0]["cosine"] == pytest.approx(
        functional.cosine_similarity(w.flatten(), g.flatten(), 0).item()
    )


@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
@pytest.mark.parametrize("norm", ["layer", "group", "rms"])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_norms_of_a_sample_leave_it_of_weights_and_biases_together(prepared, task, norm, eps):
    """Σ_j ⟨w_j, g_j⟩ + b_j ∂L/∂b_j is the sum over samples and groups of ε / (s + ε) Σ γ z ∂L/∂(γ z + β).

    z are the normalised values and s is what the norm divides by: the variance or the mean square.
    """
    point = precise_point(prepared, task, norm)
    numbers = [n for n, layer in enumerate(point.run.model, start=1) if hasattr(layer, "norm")]
    for number in numbers:
        layer = point.run.model[number - 1]
        layer.norm.eps = eps
        if norm == "group" and isinstance(layer.linear, torch.nn.Linear) and task == "vgg":
            layer.norm.groups = 1  # two units without positions in two groups would have no gradient
    _, gradient = point.value_and_gradient(point.parameters)
    of = dict(zip(point.names, zip(point.parameters, gradient, strict=True), strict=True))
    modules = [f"{number}.{name}" for number in numbers for name in ("linear", "norm")]
    outputs, slopes = point.outputs_and_gradients(point.parameters, modules)
    for number in numbers:
        of_layer = outputs[f"{number}.linear"], slopes[f"{number}.norm"]
        y, slope = (t.reshape(*t.shape[:2], -1) for t in of_layer)
        gamma = of[f"{number}.norm.weight"][0]
        groups = getattr(point.run.model[number - 1].norm, "groups", 1)
        expected = 0.0
        for sample in range(len(y)):
            for units in torch.arange(y.shape[1]).chunk(groups):
                values = y[sample, units] - (0 if norm == "rms" else y[sample, units].mean())
                size = values.square().mean()
                weighted = gamma[units, None] * values / (size + eps).sqrt() * slope[sample, units]
                expected += (eps / (size + eps) * weighted.sum()).item()
        linear = [pair for name, pair in of.items() if name.startswith(f"{number}.linear")]
        radial = sum((p * g).sum().item() for p, g in linear)
        tolerance = 1e-12 * sum((p.norm() * g.norm()).item() for p, g in linear)
        assert radial == pytest.approx(expected, rel=1e-8, abs=tolerance)
        if task == "vgg" and number == 1 and norm != "group":  # a group of one unit ignores its bias
            bias = (linear[1][0] * linear[1][1]).sum().item()
            assert abs(bias) > 1e3 * tolerance, "the weights alone do not have it"


@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
def test_half_the_weights_before_a_batch_norm_means_four_times_the_curvature(prepared, task):
    """So the lengths of weights are the units in which nets with and without a norm differ."""
    point = precise_point(prepared, task, "batch")
    point.run.fast_pass = None
    for layer in point.run.model:
        if hasattr(layer, "norm"):
            layer.norm.eps = 1e-12
    own = of_layers(point, lambda n: n == 2)
    weights = torch.zeros_like(own)
    position = 0
    for name, p in zip(point.names, point.parameters, strict=True):
        weights[position : position + p.numel()] = name == "2.linear.weight"
        position += p.numel()
    found = []
    for scale in (1.0, 0.5):
        for i, name in enumerate(point.names):
            if name in ("2.linear.weight", "2.linear.bias"):
                point.parameters[i] = point.parameters[i] * scale
        (row,) = weight_length.measure(point, layers={"#2": 2})
        _, _, product = point.value_gradient_and_hessian(point.parameters)
        random = torch.Generator().manual_seed(0)
        v = [torch.randn(p.shape, generator=random, dtype=p.dtype) for p in point.parameters]
        v = [x if name == "2.linear.weight" else 0 * x for x, name in zip(v, point.names, strict=True)]
        found.append((row, whole_hessian.flat(product(v))[weights]))
    (full, block), (half, larger) = found
    assert half["weight_length"] == pytest.approx(full["weight_length"] / 2)
    assert half["gradient_length"] == pytest.approx(2 * full["gradient_length"], rel=1e-6)
    assert half["effective_rate"] == pytest.approx(4 * full["effective_rate"])
    assert abs(full["cosine"]) < 1e-6
    torch.testing.assert_close(larger, 4 * block, rtol=1e-5, atol=1e-8 * block.norm().item())


def test_the_slope_does_not_change_with_the_length_of_the_weights_before_a_batch_norm(prepared):
    """The columns of quantities/weight_length.py, by hand, before and after a layer's weights are halved."""
    point = precise_point(prepared, "vgg", "batch")
    for layer in point.run.model:
        if hasattr(layer, "norm"):
            layer.norm.eps = 1e-12
    found = []
    for scale in (1.0, 0.5):
        for i, name in enumerate(point.names):
            if name in ("2.linear.weight", "2.linear.bias"):
                point.parameters[i] = point.parameters[i] * scale
        rows = weight_length.measure(point, layers={"#1": 1, "#2": 2})
        table = pd.DataFrame(rows).assign(condition="c", seed=0, step=3)
        found.append(quantities.per_step(table))
        for row, number in zip(found[-1].to_dict("records"), (1, 2), strict=True):
            by_hand = literal(point, number)
            w, g = by_hand["weight_length"], by_hand["gradient_length"]
            assert row["squared_weight_length"] == pytest.approx(w * w, rel=1e-9)
            assert row["slope"] == pytest.approx(w * g, rel=1e-9)
            assert row["cosine"] == pytest.approx(by_hand["cosine"], abs=1e-9)
    full, half = found
    assert half["slope"].tolist() == pytest.approx(full["slope"].tolist(), rel=1e-6)
    quarter = full["squared_weight_length"] / [1, 4]
    assert half["squared_weight_length"].tolist() == pytest.approx(quarter.tolist())


def test_without_a_gradient_the_cosine_is_nan(point_of):
    point = point_of("none", 4)
    point.value_and_gradient = lambda parameters: (0.0, [torch.zeros_like(p) for p in parameters])
    (row,) = weight_length.measure(point, layers={"#1": 1})
    assert math.isnan(row["cosine"])
    assert row["gradient_length"] == 0
