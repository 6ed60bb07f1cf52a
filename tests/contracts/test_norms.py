"""The contract of every norm: `build(channels)` returns a module for the nets of all tasks."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from bnopt import plugins

CHANNELS = 5
# Norms whose statistics run over several units of a sample.
ACROSS_UNITS = {"layer", "group", "rms"}
pytestmark = pytest.mark.parametrize("name", plugins.names("norms"))
shapes = pytest.mark.parametrize("shape", [(8, CHANNELS), (4, CHANNELS, 6, 3), (2, CHANNELS, 1, 1)])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def build(name, dtype=torch.float32, stream=(0, 3, 1)):
    module = plugins.load("norms", name).build(CHANNELS).to(dtype)
    assert isinstance(module, torch.nn.Module)
    set_stream(module, stream)
    return module


def set_stream(module, stream):
    for part in module.modules():
        if hasattr(part, "stream"):
            part.stream = stream


def inputs(shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).mul(3).add(1).to(dtype)


@shapes
@dtypes
@pytest.mark.parametrize("training", [True, False])
def test_outputs_have_the_shape_and_type_of_inputs_and_all_values_are_finite(name, shape, dtype, training):
    module = build(name, dtype).train(training)
    y = inputs(shape, dtype).requires_grad_()
    output = module(y)
    assert output.shape == y.shape
    assert output.dtype == dtype
    assert output.isfinite().all()
    (output**2).sum().backward()
    for tensor in (y, *module.parameters()):
        assert tensor.grad.shape == tensor.shape
        assert tensor.grad.isfinite().all()


@shapes
def test_values_and_gradients_are_finite_if_a_unit_is_constant(name, shape):
    module = build(name)
    y = inputs(shape)
    y[:, 0], y[:, 1] = 0.0, 7.0
    y.requires_grad_()
    output = module(y)
    (output**2).sum().backward()
    assert output.isfinite().all()
    assert y.grad.isfinite().all()


@shapes
@dtypes
def test_a_pass_is_a_function_of_the_stream_and_of_all_inputs_so_far(name, shape, dtype):
    outputs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        module = build(name, dtype)
        trained = [module(inputs(shape, dtype, seed=step)) for step in range(3)]
        outputs.append([*trained, module.eval()(inputs(shape, dtype))])
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


@shapes
def test_a_pass_does_not_change_the_global_random_state_or_its_input(name, shape):
    y = inputs(shape)
    before, state = y.clone(), torch.get_rng_state()
    build(name)(y)
    assert torch.equal(y, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_initial_parameters_do_not_depend_on_the_seed(name):
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(build(name).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@shapes
def test_evaluation_treats_samples_one_by_one_and_changes_nothing(name, shape):
    module = build(name)
    for step in range(3):
        module(inputs(shape, seed=step))
    module.eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    y = inputs(shape, seed=9)
    whole = module(y)
    alone = torch.cat([module(sample[None]) for sample in y])
    torch.testing.assert_close(whole, alone)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


@shapes
def test_a_state_dict_brings_another_module_to_the_same_state(name, shape):
    module = build(name)
    for step in range(3):
        module(inputs(shape, seed=step))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.25)
    other = build(name)
    other.load_state_dict(module.state_dict())
    y = inputs(shape, seed=9)
    for stream in ((0, 4, 1), (0, 5, 1)):
        set_stream(module, stream)
        set_stream(other, stream)
        assert torch.equal(module(y), other(y))
    assert torch.equal(module.eval()(y), other.eval()(y))


@shapes
def test_units_are_treated_alike_except_for_noise_and_independently(name, shape):
    """Changing one unit changes no other; two units with equal values have equal outputs."""
    y = inputs(shape)
    changed = y.clone()
    changed[:, 2] = inputs(shape, seed=5)[:, 2]
    others = [0, 1, 3, 4]
    module = build(name)
    same = torch.equal(module(y)[:, others], build(name)(changed)[:, others])
    assert same == (name not in ACROSS_UNITS)
    if not any(hasattr(part, "stream") for part in module.modules()):
        twins = y.clone()
        twins[:, 1] = twins[:, 0]
        output = build(name)(twins)
        torch.testing.assert_close(output[:, 0], output[:, 1])


@shapes
def test_second_derivatives_are_those_of_finite_differences(name, shape):
    """The curvature of the loss needs them."""
    shape = (*shape[:2], *(min(size, 2) for size in shape[2:]))
    module = build(name, torch.float64)
    y = inputs(shape, torch.float64).requires_grad_()
    parameters = list(module.parameters())

    def outputs(y, *values):
        tensors = dict(zip(dict(module.named_parameters()), values, strict=True))
        buffers = {key: buffer.clone() for key, buffer in module.named_buffers()}
        return functional_call(module, tensors | buffers, (y,))

    assert torch.autograd.gradcheck(outputs, (y, *parameters))
    assert torch.autograd.gradgradcheck(outputs, (y, *parameters))


@shapes
def test_a_norm_with_a_running_variance_of_pytorchs_name_is_batch_normalisation(name, shape):
    """The probe `theorems` takes such a module for batch normalisation."""
    found = [part for part in build(name).modules() if hasattr(part, "running_var")]
    for module in found:
        y = inputs(shape)
        module.weight.data.fill_(2.0)
        expected = nn.functional.batch_norm(y, None, None, module.weight, module.bias, training=True)
        torch.testing.assert_close(module(y), expected)
    assert bool(found) == ("batch" in name)


# -- norms that act on weights ----------------------------------------------------------------------------


def linear_of(shape):
    """Return a linear map whose outputs have this shape, and its inputs."""
    positions = shape[2:]
    linear = nn.Conv2d(3, CHANNELS, 3, padding=1) if positions else nn.Linear(3, CHANNELS)
    return linear.double(), inputs((shape[0], 3, *positions), torch.float64)


@shapes
def test_acting_on_weights_keeps_the_initial_weights_and_the_initial_function(name, shape):
    reparametrise = getattr(plugins.load("norms", name), "reparametrise", None)
    assert bool(reparametrise) == name.startswith("weight_")
    if not reparametrise:
        return
    linear, x = linear_of(shape)
    weight, output = linear.weight.detach().clone(), linear(x).detach()
    reparametrise(linear)
    torch.testing.assert_close(linear.weight, weight, rtol=1e-12, atol=0)
    torch.testing.assert_close(linear(x), output, rtol=1e-12, atol=1e-12)
    assert any(torch.equal(parameter, weight) for parameter in linear.parameters())

    names = [key for key, _ in linear.named_parameters()]
    (linear(x) ** 2).sum().backward()
    assert all(linear.get_parameter(key).grad.isfinite().all() for key in names)

    def outputs(*values):
        return functional_call(linear, dict(zip(names, values, strict=True)), (x,))

    values = [linear.get_parameter(key) for key in names]
    assert torch.autograd.gradgradcheck(outputs, values)
