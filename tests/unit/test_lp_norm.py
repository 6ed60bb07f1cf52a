"""Normalisation by an average ℓp norm, against a loop; a norm that centres first would be noticed."""

import math

import pytest
import torch

from bnopt import plugins

POWERS = {"l1": 1, "l2": 2, "linf": math.inf}
SHAPES = [(16, 3), (8, 3, 4, 4)]


def average_norm(values, p):
    """Return (mean |v|^p)^(1/p) of a list of numbers; for p = inf, the maximum of |v|."""
    if p == math.inf:
        return max(abs(v) for v in values)
    return (sum(abs(v) ** p for v in values) / len(values)) ** (1 / p)


def values_of(y, unit):
    return y.select(1, unit).flatten().tolist()


@pytest.fixture
def norm(request):
    torch.manual_seed(1)
    module = plugins.load("norms", request.param).build(3).double()
    torch.nn.init.uniform_(module.weight, 0.5, 2)
    torch.nn.init.normal_(module.bias)
    return module


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("norm", "name"), [(n, n) for n in POWERS], indirect=["norm"])
def test_training_agrees_with_a_loop_over_units(norm, name, shape):
    y = torch.randn(shape, dtype=torch.float64) * 3 + 1
    out = norm.train()(y)
    for unit in range(3):
        values = values_of(y, unit)
        mean, scale = sum(values) / len(values), average_norm(values, POWERS[name])
        gamma, beta = norm.weight[unit].item(), norm.bias[unit].item()
        expected = [gamma * (v - mean) / (scale + 1e-5) + beta for v in values]
        assert values_of(out, unit) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("norm", "name"), [(n, n) for n in POWERS], indirect=["norm"])
def test_centring_before_the_norm_would_be_noticed(norm, name):
    y = torch.randn(64, 3, dtype=torch.float64) + 1
    centred = y - y.mean(0)
    scale = torch.tensor([average_norm(values_of(centred, unit), POWERS[name]) for unit in range(3)])
    wrong = norm.weight * centred / (scale + 1e-5) + norm.bias
    assert not torch.allclose(norm(y), wrong, rtol=0.05)


@pytest.mark.parametrize(("norm", "name"), [(n, n) for n in POWERS], indirect=["norm"])
def test_evaluation_uses_running_averages_of_mean_and_norm(norm, name):
    mean, scale = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for _ in range(4):
        y = torch.randn(32, 3, dtype=torch.float64) * 2 + 1
        norm.train()(y)
        for unit in range(3):
            values = values_of(y, unit)
            mean[unit] += 0.1 * (sum(values) / len(values) - mean[unit])
            scale[unit] += 0.1 * (average_norm(values, POWERS[name]) - scale[unit])
    y = torch.randn(5, 3, dtype=torch.float64)
    expected = norm.weight * (y - mean) / (scale + 1e-5) + norm.bias
    assert torch.allclose(norm.eval()(y), expected, rtol=1e-12)


def test_gradients_agree_with_finite_differences():
    torch.manual_seed(1)
    for name in POWERS:
        module = plugins.load("norms", name).build(3).double()
        y = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(module, y)
