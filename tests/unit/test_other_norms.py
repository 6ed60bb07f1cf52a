"""The norms that the paper does not have, against loops over single values and PyTorch's own layers."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from bnopt import plugins
from bnopt.norms import (
    batch,
    centre,
    divide,
    dyt,
    dyt_alpha1,
    frozen,
    ghost,
    group,
    instance,
    layer,
    rms,
    weight_norm,
    weight_standard,
)
from bnopt.run import snapshots
from bnopt.run.point import Point
from bnopt.run.run import Run

EPS, CHANNELS = 1e-5, 8
SHAPES = [(16, 8), (6, 8, 4, 3), (6, 8, 2, 2), (6, 8, 1, 1)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
CPU = torch.device("cpu")


def values(shape, seed):
    """Return values whose mean and scale differ from unit to unit."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, shape[1] + 1).view(1, -1, *[1] * (len(shape) - 2))
    return torch.randn(shape, generator=generator, dtype=torch.float64) * scale + scale


def built(norm, channels=CHANNELS):
    """Return a module in float64 with random γ and β."""
    module = norm.build(channels).double()
    with torch.no_grad():
        module.weight.copy_(values((2, channels), seed=99)[0])
        module.bias.copy_(values((2, channels), seed=98)[0])
    return module


def results(function, y, tensors, seed=7):
    """Return the output, and the gradients of y and of `tensors` for a random gradient of the output."""
    leaf = y.clone().requires_grad_()
    output = function(leaf)
    return output, *torch.autograd.grad(output, [leaf, *tensors], values(output.shape, seed))


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def per_unit(tensor, y):
    return tensor.view(1, -1, *[1] * (y.dim() - 2))


def moments(numbers):
    """Return mean and variance of numbers, by sums without rounding."""
    mean = math.fsum(numbers) / len(numbers)
    return mean, math.fsum((v - mean) ** 2 for v in numbers) / len(numbers)


# -- statistics of a sample: layer, group, instance, rms --------------------------------------------------


def group_norm_by_loops(y, gamma, beta, groups):
    output, size = torch.empty_like(y), y.shape[1] // groups
    for i in range(len(y)):
        for first in range(0, y.shape[1], size):
            mean, variance = moments(y[i, first : first + size].flatten().tolist())
            for unit in range(first, first + size):
                output[i, unit] = gamma[unit] * (y[i, unit] - mean) / math.sqrt(variance + EPS) + beta[unit]
    return output


@shapes
@pytest.mark.parametrize(
    ("norm", "channels", "groups"), [(layer, 8, 1), (group, 8, 4), (group, 6, 2), (group, 5, 1)]
)
def test_layer_and_group_are_loops_over_groups_and_pytorchs_group_norm(norm, channels, groups, shape):
    shape = (shape[0], channels, *shape[2:])
    module, y = built(norm, channels), values(shape, seed=0)
    own = [module.weight, module.bias]
    found = results(module, y, own)
    assert_equal(found[:1], [group_norm_by_loops(y, *own, groups)])
    theirs = nn.GroupNorm(groups, channels).double()
    theirs.load_state_dict(module.state_dict())
    assert_equal(found, results(theirs, y, [theirs.weight, theirs.bias]))
    assert_equal([module.eval()(y)], found[:1])


@shapes
def test_layer_is_pytorchs_layer_norm_with_a_factor_and_an_offset_per_unit(shape):
    module, y = built(layer), values(shape, seed=0)
    own = [module.weight, module.bias]

    def theirs(y):
        gamma, beta = (per_unit(tensor, y).expand(1, *shape[1:])[0] for tensor in own)
        return functional.layer_norm(y, shape[1:], gamma, beta, EPS)

    assert_equal(results(module, y, own), results(theirs, y, own))


@shapes
def test_rms_is_a_loop_over_samples_and_pytorchs_rms_norm(shape):
    module, y = built(rms), values(shape, seed=0)
    own = [module.weight, module.bias]

    def theirs(y):
        gamma, beta = (per_unit(tensor, y).expand(1, *shape[1:])[0] for tensor in own)
        return functional.rms_norm(y, shape[1:], gamma, EPS) + beta

    found = results(module, y, own)
    for sample, output in zip(y, found[0], strict=True):
        numbers = sample.flatten().tolist()
        root = math.sqrt(math.fsum(v * v for v in numbers) / len(numbers) + EPS)
        for unit in range(CHANNELS):
            expected = module.weight[unit] * sample[unit] / root + module.bias[unit]
            torch.testing.assert_close(output[unit], expected)
    assert_equal(found, results(theirs, y, own))
    assert_equal([module.eval()(y)], found[:1])


@pytest.mark.parametrize("shape", [(6, 8, 4, 3), (6, 8, 2, 2)], ids=str)
def test_instance_is_a_loop_over_units_and_pytorchs_instance_norm(shape):
    module, y = built(instance), values(shape, seed=0)
    own = [module.weight, module.bias]
    found = results(module, y, own)
    assert_equal(found[:1], [group_norm_by_loops(y, *own, CHANNELS)])
    theirs = nn.InstanceNorm2d(CHANNELS, eps=EPS, affine=True).double()
    theirs.load_state_dict(module.state_dict())
    assert_equal(found, results(theirs, y, [theirs.weight, theirs.bias]))
    assert_equal([module.eval()(y)], found[:1])


@pytest.mark.parametrize("shape", [(16, 8), (6, 8, 1, 1)], ids=str)
def test_instance_is_a_factor_and_an_offset_where_a_unit_has_a_single_position(shape):
    module, y = built(instance), values(shape, seed=0)
    expected = y * per_unit(module.weight, y) + per_unit(module.bias, y)
    assert torch.equal(module(y), expected)


# -- statistics of the batch: ghost, centre, divide -------------------------------------------------------


@shapes
@pytest.mark.parametrize(
    ("samples", "parts"),
    [(128, [16] * 8), (16, [16]), (10, [10]), (31, [31]), (32, [16, 16]), (37, [16, 21])],
)
def test_ghost_is_pytorchs_batch_norm_part_by_part(shape, samples, parts):
    shape = (samples, *shape[1:])
    module = built(ghost)
    own = [module.weight, module.bias]
    mean, variance = torch.zeros(CHANNELS).double(), torch.ones(CHANNELS).double()
    for step in range(3):
        y, of_parts = values(shape, seed=step), []

        def by_parts(y, of_parts=of_parts):
            outputs, first = [], 0
            for size in parts:
                theirs = (nn.BatchNorm1d if y.dim() == 2 else nn.BatchNorm2d)(CHANNELS, momentum=1.0).double()
                part = y[first : first + size]
                outputs.append(theirs(part) * per_unit(own[0], part) + per_unit(own[1], part))
                of_parts.append((theirs.running_mean, theirs.running_var))
                first += size
            assert first == samples
            return torch.cat(outputs)

        assert_equal(results(module, y, own), results(by_parts, y, own))
        means, variances = (sum(found) / len(parts) for found in zip(*of_parts, strict=True))
        mean, variance = 0.9 * mean + 0.1 * means, 0.9 * variance + 0.1 * variances
        assert_equal([module.parts_mean, module.parts_var], [mean, variance])

    y = values(shape, seed=9)
    expected = functional.batch_norm(y, mean, variance, *own, training=False, eps=EPS)
    assert_equal(results(module.eval(), y, own)[:1], [expected])
    assert_equal([module.parts_mean, module.parts_var], [mean, variance])


def test_ghost_of_one_part_is_batch():
    y = values((31, 8, 3, 3), seed=0)
    ours, theirs = built(ghost), built(batch)
    for _ in range(2):
        assert_equal(
            results(ours, y, [ours.weight, ours.bias]), results(theirs, y, [theirs.weight, theirs.bias])
        )
    assert_equal([ours.parts_mean, ours.parts_var], [theirs.running_mean, theirs.running_var])
    assert_equal([ours.eval()(y)], [theirs.eval()(y)])


@shapes
@pytest.mark.parametrize("norm", [centre, divide])
def test_centre_and_divide_are_loops_over_units_with_pytorchs_running_statistics(norm, shape):
    module = built(norm)
    theirs = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(CHANNELS).double()
    for step in range(3):
        y = values(shape, seed=step)
        output = module(y)
        theirs(y)
        for unit in range(CHANNELS):
            mean, variance = moments(y[:, unit].flatten().tolist())
            middle = y[:, unit] - mean if norm is centre else y[:, unit] / math.sqrt(variance + EPS)
            expected = module.weight[unit] * middle + module.bias[unit]
            torch.testing.assert_close(output[:, unit], expected)
    statistics = dict(module.named_buffers())
    if norm is centre:
        assert_equal(statistics.values(), [theirs.running_mean])
        middle = y - per_unit(theirs.running_mean, y)
    else:
        assert_equal(statistics.values(), [theirs.running_var])
        middle = y / per_unit((theirs.running_var + EPS).sqrt(), y)
    expected = per_unit(module.weight, y) * middle + per_unit(module.bias, y)
    assert_equal([module.eval()(y)], [expected])


@shapes
def test_dividing_what_was_centred_is_batch(shape):
    y = values(shape, seed=0)
    both, whole = nn.Sequential(centre.build(8), divide.build(8)).double(), batch.build(8).double()
    assert_equal(results(both, y, []), results(whole, y, []))


# -- without statistics: dyt ------------------------------------------------------------------------------


@shapes
@pytest.mark.parametrize(("norm", "alpha"), [(dyt, 0.5), (dyt_alpha1, 1.0)])
def test_dyt_is_tanh_value_by_value(norm, alpha, shape):
    module, y = built(norm), values(shape, seed=0)
    assert module.alpha.item() == alpha
    output, gradient, of_alpha = results(module, y, [module.alpha])
    upstream = values(shape, seed=7)
    total = 0.0
    for index in torch.cartesian_prod(*map(torch.arange, shape)).tolist():
        at, unit = tuple(index), index[1]
        bent = math.tanh(alpha * y[at].item())
        gamma, beta = module.weight[unit].item(), module.bias[unit].item()
        assert output[at].item() == pytest.approx(gamma * bent + beta, rel=1e-12)
        slope = upstream[at].item() * gamma * (1 - bent**2)
        assert gradient[at].item() == pytest.approx(slope * alpha, rel=1e-9, abs=1e-12)
        total += slope * y[at].item()
    assert of_alpha.item() == pytest.approx(total, rel=1e-9)
    assert_equal([module.eval()(y)], [output])


# -- frozen -----------------------------------------------------------------------------------------------


def frozen_module(seed=5):
    module = built(frozen)
    module.settled_mean.copy_(values((1, CHANNELS), seed)[0])
    module.settled_var.copy_(values((1, CHANNELS), seed)[0] ** 2)
    return module


@shapes
@pytest.mark.parametrize("training", [True, False])
def test_frozen_is_pytorchs_batch_norm_in_evaluation(shape, training):
    module, y = frozen_module().train(training), values(shape, seed=0)
    theirs = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(CHANNELS).double().eval()
    names = {"settled_mean": "running_mean", "settled_var": "running_var"}
    state = {names.get(name, name): tensor for name, tensor in module.state_dict().items()}
    theirs.load_state_dict(state, strict=False)
    before = [buffer.clone() for buffer in module.buffers()]
    for _ in range(2):  # a pass changes nothing
        found = results(module, y, [module.weight, module.bias])
        assert_equal(found, results(theirs, y, [theirs.weight, theirs.bias]))
    assert all(torch.equal(a, b) for a, b in zip(before, module.buffers(), strict=True))


@shapes
def test_frozen_settles_a_tenth_of_the_way_to_the_last_pass_in_training_mode(shape):
    module = frozen_module()
    before = {name: buffer.tolist() for name, buffer in module.named_buffers()}
    module(values(shape, seed=1))
    y = values(shape, seed=2)
    module(y)
    module.eval()(values(shape, seed=3))
    module.settle()
    for unit in range(CHANNELS):
        mean, variance = moments(y[:, unit].flatten().tolist())
        old_mean, old_variance = (before[f"settled_{name}"][unit] for name in ("mean", "var"))
        assert module.settled_mean[unit].item() == pytest.approx(0.9 * old_mean + 0.1 * mean)
        assert module.settled_var[unit].item() == pytest.approx(0.9 * old_variance + 0.1 * variance)


@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
def test_a_frozen_run_starts_with_the_statistics_of_batch_0_and_the_outputs_of_batch(
    prepared, sizes_of, task
):
    runs = [Run(prepared, **sizes_of(task), norm=n, seed=3, device=CPU) for n in ("frozen", "batch")]
    inputs, _ = runs[0].batch(0)
    outputs = [run.model(inputs) for run in runs]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    for number, reached in runs[0].model.named_children():
        if hasattr(reached, "norm"):
            y = inputs
            for name, module in reached.named_children():
                if name == "norm":
                    break
                y = module(y)
            found = reached.norm.settled_mean, reached.norm.settled_var
            dims = [d for d in range(y.dim()) if d != 1]
            torch.testing.assert_close(found, (y.mean(dims), y.var(dims, correction=0)), msg=number)
        inputs = reached(inputs)
    runs[0].settle()  # the first step moves statistics to where they are
    torch.testing.assert_close(runs[0].model(runs[0].batch(0)[0]), outputs[0], rtol=1e-5, atol=1e-6)


def test_every_pass_of_a_step_sees_the_statistics_of_its_snapshot(prepared, sizes, run_of):
    state = snapshots.read(run_of("frozen").folder, 5, "cpu")
    point = Point(Run(prepared, **sizes, norm="frozen", seed=0, device=CPU), state, step=5, lr=0.1)
    first, gradient = point.value_and_gradient(point.parameters)
    far = [p - 0.3 * g for p, g in zip(point.parameters, gradient, strict=True)]
    at_far = point.loss(far)
    assert torch.equal(point.loss(far, training=False), at_far)
    for other_step in (6, 9):
        point.loss(far, step=other_step)
    assert torch.equal(point.loss(far), at_far)
    assert torch.equal(point.value_and_gradient(point.parameters)[0], first)
    batch_of_step = point.run.batch(5)
    net = functional_call(point.run.model, state, (batch_of_step[0],))
    assert torch.equal(functional.cross_entropy(net, batch_of_step[1]), first)


# -- weights: weight_norm, weight_standard ----------------------------------------------------------------


@pytest.fixture(params=["linear", "convolution"])
def pair(request):
    """Function: norm -> a reparametrised map that has left its start, a copy from before, and inputs."""

    def pair(norm):
        torch.manual_seed(0)
        maps = [
            nn.Linear(7, 4).double() if request.param == "linear" else nn.Conv2d(3, 4, 3, padding=1).double()
            for _ in range(2)
        ]
        maps[1].load_state_dict(maps[0].state_dict())
        norm.reparametrise(maps[0])
        x = torch.randn((5, 7) if request.param == "linear" else (5, 3, 4, 4), dtype=torch.float64)
        return *maps, x

    return pair


def changed(linear):
    """Change g and v of a reparametrised map; return them."""
    gain, v = linear.parametrizations.weight[0].gain, linear.parametrizations.weight.original
    with torch.no_grad():
        gain.mul_(torch.linspace(0.5, 2, 4, dtype=torch.float64).view(gain.shape))
        v.add_(0.2 * torch.randn_like(v))
    return gain, v


def test_weight_norm_is_a_loop_over_units_and_pytorchs_own(pair):
    ours, theirs, x = pair(weight_norm)
    nn.utils.parametrizations.weight_norm(theirs)
    reference = theirs.parametrizations.weight
    assert_equal([ours(x)], [theirs(x)])
    gain, v = changed(ours)
    reference.original0.data, reference.original1.data = gain.data.clone(), v.data.clone()
    for unit in range(4):
        size = math.sqrt(math.fsum(w * w for w in v[unit].flatten().tolist()))
        torch.testing.assert_close(ours.weight[unit], gain[unit] * v[unit] / size)
    assert_equal(
        results(ours, x, [gain, v, ours.bias]),
        results(theirs, x, [reference.original0, reference.original1, theirs.bias]),
    )


def test_weight_standard_is_a_loop_over_units(pair):
    ours, start, x = pair(weight_standard)
    gain, v = changed(ours)
    for unit in range(4):
        mean, variance = moments(v[unit].flatten().tolist())
        offset, _ = moments(start.weight[unit].flatten().tolist())
        scale = math.sqrt(v[unit].numel() * (variance + EPS))
        expected = gain[unit] * (v[unit] - mean) / scale + offset
        torch.testing.assert_close(ours.weight[unit], expected)
        # The mean of a unit's weights never changes.
        assert ours.weight[unit].mean().item() == pytest.approx(offset, abs=1e-14)
    *_, of_v = results(ours, x, [gain, v])
    assert of_v.flatten(1).sum(1).abs().max() < 1e-12 * of_v.abs().max()


@pytest.mark.parametrize("norm", ["weight_norm", "weight_standard"])
@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
def test_norms_of_weights_act_on_all_layers_but_the_last_and_keep_the_plain_nets_start(
    prepared, sizes_of, task, norm
):
    run, plain = (Run(prepared, **sizes_of(task), norm=n, seed=3, device=CPU) for n in (norm, "none"))
    assert run.fast_pass is None
    inputs, _ = run.batch(0)
    torch.testing.assert_close(run.model(inputs), plain.model(inputs), rtol=1e-4, atol=1e-5)
    for own, other in zip(run.model, plain.model, strict=True):
        acted = nn.utils.parametrize.is_parametrized(own.linear)
        assert acted == hasattr(own, "norm")
        initial = own.linear.parametrizations.weight.original if acted else own.linear.weight
        assert torch.equal(initial, other.linear.weight)


# -- in runs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", plugins.names("norms"))
@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
def test_initial_scale_multiplies_all_initial_weights_and_nothing_else(prepared, sizes_of, task, norm):
    sizes = sizes_of(task)
    larger = sizes | {"net": sizes["net"] | {"initial_scale": 2}}
    scaled, plain = (Run(prepared, **s, norm=norm, seed=3, device=CPU) for s in (larger, sizes))
    for own, other in zip(scaled.model, plain.model, strict=True):
        torch.testing.assert_close(own.linear.weight, 2 * other.linear.weight)
    layers = len(scaled.model)
    if norm in ("none", "weight_norm", "weight_standard"):
        inputs, _ = plain.batch(0)
        # ReLU and max-pooling are homogeneous, and biases are zero.
        expected = 2.0**layers * plain.model(inputs)
        torch.testing.assert_close(scaled.model(inputs), expected, rtol=1e-3, atol=1e-3)
