"""Gradients in the outputs of layers and their stable rank: leaves added to outputs, singular values."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from bnopt.probes import propagation

CASES = [(task, norm) for task in ("vgg", "deep_linear") for norm in ("none", "batch", "noisy_batch")]


def literal(point, number, *, site="linear", step=None, training=True):
    """Return ‖δ‖ and the stable rank from a net with a leaf of zeros added to a layer's outputs.

    site, step, training: options for mistakes.
    """
    step = point.step if step is None else step
    model = copy.deepcopy(point.run.model)
    state = dict(zip(point.names, point.parameters, strict=True)) | point.buffers
    model.load_state_dict(state)
    model.train(training)
    for name, module in model.named_modules():
        if hasattr(module, "stream"):
            module.stream = (point.seed, step, int(name.split(".")[0]))
    leaves, outputs = [], []

    def add_a_leaf(_module, _inputs, output):
        leaves.append(torch.zeros_like(output, requires_grad=True))
        outputs.append(output.detach())
        return output + leaves[-1]

    model.get_submodule(f"{number}.{site}").register_forward_hook(add_a_leaf)
    inputs, targets = point.run.batch(step)
    point.run.task.loss(model(inputs), targets).backward()
    y = outputs[0]
    matrix = y.permute(0, *range(2, y.dim()), 1).reshape(-1, y.shape[1]).double().numpy()
    singular = np.linalg.svd(matrix, compute_uv=False)
    rank = (singular**2).sum() / singular[0] ** 2
    return leaves[0].grad.double().norm().item(), rank


@pytest.mark.parametrize(("task", "norm"), CASES)
def test_columns_are_those_of_leaves_and_singular_values(point_of, task, norm):
    point = point_of(norm, 4, task=task)
    total = len(point.run.model)
    layers = {"#1": 1, "#9": 4, "#5": 3, "logits": total}
    rows = propagation.measure(point, layers=layers)
    assert [row["layer"] for row in rows] == list(layers)
    for row, number in zip(rows, layers.values(), strict=True):
        length, rank = literal(point, number)
        assert row["gradient_length"] == pytest.approx(length, rel=1e-5)
        assert row["stable_rank"] == pytest.approx(rank, rel=1e-5)
        first, last = literal(point, 1)[0], literal(point, total - 1)[0]
        assert row["growth"] == pytest.approx((first / last) ** (1 / (total - 2)), rel=1e-5)


@pytest.mark.parametrize("number", [2, 4])
def test_mistakes_give_other_values(point_of, number):
    point = point_of("batch", 9)
    (row,) = propagation.measure(point, layers={"": number})
    right = (row["gradient_length"], row["stable_rank"])
    assert right == pytest.approx(literal(point, number), rel=1e-5)
    wrong = {
        "outputs of the norm": literal(point, number, site="norm"),
        "outputs of ReLU": literal(point, number, site="relu"),
        "evaluation mode": literal(point, number, training=False),
        "the next batch": literal(point, number, step=10),
        "the next layer": literal(point, number + 1),
    }
    for mistake, values in wrong.items():
        assert abs(values[0] / right[0] - 1) > 0.01, mistake
        if mistake != "evaluation mode":
            assert abs(values[1] / right[1] - 1) > 0.001, mistake


@pytest.mark.parametrize("shape", [(50, 4), (10, 4, 3, 2)])
def test_the_stable_rank_ignores_scale_and_counts_equal_directions(shape):
    random = torch.Generator().manual_seed(0)
    rows = math.prod(shape) // 4
    basis, _ = torch.linalg.qr(torch.randn(rows, 4, generator=random, dtype=torch.float64))
    scales = torch.tensor([3.0, 3.0, 3.0, 0.0], dtype=torch.float64)
    y = (basis * scales).T.reshape(4, shape[0], *shape[2:]).transpose(0, 1)
    assert propagation._stable_rank(y) == pytest.approx(3)
    assert propagation._stable_rank(1e6 * y.float()) == pytest.approx(3, rel=1e-5)
    assert propagation._stable_rank(torch.ones(shape)) == pytest.approx(1)
    assert math.isnan(propagation._stable_rank(torch.zeros(shape)))
    assert math.isnan(propagation._stable_rank(torch.full(shape, math.inf)))


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_growth_is_the_factor_of_a_net_whose_layers_all_scale_alike(point_of, factor):
    """Layers that multiply by an orthogonal matrix and a factor multiply gradients by it."""
    point = point_of("none", 0, task="deep_linear")
    point.parameters = [factor * nn.init.orthogonal_(torch.empty_like(p)) for p in point.parameters]
    (row,) = propagation.measure(point, layers={"": 3})
    assert row["growth"] == pytest.approx(factor, rel=1e-9)


def test_it_costs_one_forward_pass_and_leaves_no_hooks(point_of):
    point = point_of("batch", 4, task="deep_linear")
    calls = []
    handle = point.run.model.register_forward_hook(lambda *_: calls.append(0))
    propagation.measure(point, layers={"#9": 2, "#17": 4})
    handle.remove()
    assert len(calls) == 1
    assert not any(module._forward_hooks for module in point.run.model.modules())
