"""The contract of every norm: `build(channels)` returns a module for the nets of all tasks."""

import pytest
import torch

from bnopt import plugins

CHANNELS = 5
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


@shapes
def test_initial_parameters_do_not_depend_on_the_seed(name, shape):
    del shape
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
    module = build(name)
    y = inputs(shape)
    first = module(y)
    changed = y.clone()
    changed[:, 2] = inputs(shape, seed=5)[:, 2]
    second = build(name)(changed)
    others = [0, 1, 3, 4]
    assert torch.equal(first[:, others], second[:, others])
    if not any(hasattr(part, "stream") for part in module.modules()):
        twins = y.clone()
        twins[:, 1] = twins[:, 0]
        output = build(name)(twins)
        torch.testing.assert_close(output[:, 0], output[:, 1])
