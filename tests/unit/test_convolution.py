"""Convolutions of 2 × 2 images as dense products, against `torch.nn.Conv2d`, in float64."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from bnopt import plugins
from bnopt.run.run import Run
from bnopt.run.vectors import difference, length
from bnopt.tasks import _convolution
from bnopt.tasks._convolution import Convolution

NORMS = plugins.names("norms")
LAYOUTS = [torch.contiguous_format, torch.channels_last]
# The last two convolutions see images of 2 × 2 pixels.
NET = {"convolutions": [4, "M", 6, "M", 5, 7], "hidden": [8]}
LR = 0.1


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def module():
    """A convolution with random parameters."""
    module = Convolution(3, 4).double()
    with torch.no_grad():
        for seed, parameter in enumerate(module.parameters(), start=1):
            parameter.copy_(draw(*parameter.shape, seed=seed))
    return module


@pytest.fixture
def dense_calls(monkeypatch):
    """The sizes of the images that are convolved by dense products, in the order of the calls."""
    calls, dense = [], _convolution.dense

    def counted(images, *parameters):
        calls.append(tuple(images.shape[2:]))
        return dense(images, *parameters)

    monkeypatch.setattr(_convolution, "dense", counted)
    return calls


def plainly(function):
    """Call a function while all convolutions take the plain path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Convolution, "forward", nn.Conv2d.forward)
        return function()


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


# -- one layer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_and_all_derivatives_are_those_of_the_convolution(module, dense_calls, layout):
    module.to(memory_format=layout)

    def derivatives():
        images = draw(5, 3, 2, 2, seed=7).contiguous(memory_format=layout).requires_grad_()
        leaves = [images, *module.parameters()]
        outputs = module(images)
        gradient = torch.autograd.grad((outputs**3).sum(), leaves, create_graph=True)
        # The gradient of the gradient's length: Hessian products need it.
        return outputs, *gradient, *torch.autograd.grad(sum((g**2).sum() for g in gradient), leaves)

    found = derivatives()
    assert dense_calls == [(2, 2)]
    assert_close(found, plainly(derivatives))
    assert found[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("side", [(1, 1), (1, 2), (2, 1), (2, 3), (3, 3), (4, 4)])
def test_images_of_other_sizes_take_the_plain_path(module, dense_calls, side):
    images = draw(5, 3, *side)
    assert torch.equal(module(images), plainly(lambda: module(images)))
    assert dense_calls == []


def test_other_devices_take_the_plain_path(module, dense_calls):
    assert module.to("meta")(torch.empty(5, 3, 2, 2, dtype=torch.float64, device="meta")).shape[1] == 4
    assert dense_calls == []


def test_it_can_be_transformed_and_recorded(module, dense_calls):
    images = draw(5, 3, 2, 2)
    parameters = {name: p.detach() for name, p in module.named_parameters()}

    def outputs(parameters, images=images):
        return functional_call(module, parameters, (images,))

    def transformed():
        traced = make_fx(lambda: outputs(parameters))()
        stacked = {name: torch.stack([p, 2 * p]) for name, p in parameters.items()}
        slopes = grad(lambda of: outputs(of).square().sum())(parameters)
        return traced(), vmap(outputs)(stacked), *slopes.values()

    found = transformed()
    assert len(dense_calls) == 3
    assert_close(found, plainly(transformed))


def test_parameters_and_their_initial_values_are_those_of_the_convolution():
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 4, 3, padding=1).state_dict()
    torch.manual_seed(0)
    own = Convolution(3, 4).state_dict()
    assert own.keys() == plain.keys()
    assert all(torch.equal(own[name], plain[name]) for name in plain)


# -- whole nets -----------------------------------------------------------------------------------


def passes(run, steps=12):
    """Yield the loss, the gradient and the buffers of each training step of a run in float64."""
    run.model.double()
    parameters = list(run.model.parameters())
    for step in range(steps):
        run.set_noise(step)
        inputs, labels = run.batch(step)
        loss = run.task.loss(run.model(inputs.double()), labels)
        gradient = torch.autograd.grad(loss, parameters)
        yield [loss.detach()], gradient, [b.clone() for b in run.model.buffers()]
        with torch.no_grad():
            for parameter, g in zip(parameters, gradient, strict=True):
                parameter -= LR * g


def largest_discrepancy(run, plain):
    """Return the largest relative discrepancy of two runs, the second on the plain path."""
    of_plain = plainly(lambda: list(passes(plain)))
    return max(
        (length(difference(a, b)) / length(b)).item()
        for pair in zip(passes(run), of_plain, strict=True)
        for a, b in zip(*pair, strict=True)
        if len(b)
    )


@pytest.fixture
def run_with(prepared):
    def run_with(norm):
        sizes = {"task": "vgg", "net": NET, "batch_size": 32}
        return Run(prepared, **sizes, norm=norm, seed=0, device=torch.device("cpu"))

    return run_with


@pytest.mark.parametrize("norm", NORMS)
def test_training_steps_are_those_of_the_plain_net(run_with, dense_calls, norm):
    fast, plain = run_with(norm), run_with(norm)
    dense_calls.clear()  # `frozen` makes a pass before the first step
    # Two units in a group without positions are nearly signs, so `group` enlarges rounding errors.
    assert largest_discrepancy(fast, plain) < 1e-8
    assert len(dense_calls) == 2 * 12


@pytest.mark.parametrize("norm", NORMS)
def test_a_wrong_entry_of_the_kernel_would_be_noticed(run_with, monkeypatch, norm):
    entries = _convolution._ENTRIES.clone()
    entries[[1, 2]] = entries[[2, 1]]
    monkeypatch.setattr(_convolution, "_ENTRIES", entries)
    assert largest_discrepancy(run_with(norm), run_with(norm)) > 1e-6
