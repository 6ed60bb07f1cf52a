"""The task deep_linear: its net, its data and its loss."""

import math

import numpy as np
import pytest
import torch

from bnopt import plugins
from bnopt.run import streams
from bnopt.tasks import deep_linear


def data_of(seed, samples=50):
    return deep_linear.read(None, seed=seed, batch_size=samples, device=torch.device("cpu"))


def test_targets_are_one_gaussian_matrix_times_gaussian_inputs():
    data = data_of(0, samples=5000)
    inputs, targets = data["inputs"].numpy(), data["targets"].numpy()
    assert inputs.dtype == np.float64
    assert inputs.shape == targets.shape == (5000, 10)
    assert np.abs(np.cov(inputs.T) - np.eye(10)).max() < 0.1
    matrix, residual, *_ = np.linalg.lstsq(inputs, targets, rcond=None)
    assert residual.max() < 1e-18 * len(inputs)
    assert matrix.std() == pytest.approx(1, abs=0.2)


def test_data_differ_between_seeds_but_not_between_reads():
    first, again, other = data_of(0), data_of(0), data_of(1)
    assert torch.equal(first["inputs"], again["inputs"])
    assert torch.equal(first["targets"], again["targets"])
    assert not torch.equal(first["inputs"], other["inputs"])


@pytest.mark.parametrize("norm", plugins.names("norms"))
def test_the_norm_follows_every_layer_but_the_last_and_weights_are_shared_by_all_norms(norm):
    net = deep_linear.build(plugins.load("norms", norm), None, depth=25, seed=3)
    assert [name for name, _ in net.named_children()] == [str(n) for n in range(1, 26)]
    plain = deep_linear.build(plugins.load("norms", "none"), None, depth=25, seed=3)
    for number, layer in net.named_children():
        assert hasattr(layer, "norm") == (number != "25")
        assert layer.linear.bias is None
        assert layer.linear.weight.shape == (10, 10)
        assert layer.linear.weight.dtype == torch.float64
        assert layer.linear.weight.abs().max() <= math.sqrt(6 / 20)
        assert torch.equal(layer.linear.weight, plain.get_submodule(number).linear.weight)
    assert all(p.dtype == torch.float64 for p in net.parameters())


def test_the_plain_net_is_a_product_of_matrices_and_its_loss_a_sum_of_squares():
    data = data_of(0)
    net = deep_linear.build(plugins.load("norms", "none"), data, depth=6, seed=0)
    product = np.eye(10)
    for layer in net.children():
        product = layer.linear.weight.detach().numpy() @ product
    inputs, targets = deep_linear.batch(data, seed=0, step=7, batch_size=50)
    expected = sum(
        float(((product @ x - t) ** 2).sum()) for x, t in zip(inputs.numpy(), targets.numpy(), strict=True)
    )
    assert deep_linear.loss(net(inputs), targets).item() == pytest.approx(expected, rel=1e-12)


def test_training_is_full_batch_gradient_descent(run_of, sizes_of):
    sizes = sizes_of("deep_linear")
    data = data_of(0, samples=sizes["batch_size"])
    net = deep_linear.build(plugins.load("norms", "none"), data, **sizes["net"], seed=0)
    curve = run_of("none", task="deep_linear").curve
    for step in range(5):
        loss = (net(data["inputs"]) - data["targets"]).square().sum()
        assert curve["loss"][step] == pytest.approx(loss.item(), rel=1e-12)
        loss.backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= 1e-6 * p.grad
                p.grad = None
    assert curve[["accuracy", "test_accuracy", "chance"]].isna().all(axis=None)
    assert (curve["diverged"] == 0).all()


def test_weights_are_drawn_from_the_stream_of_their_layer():
    net = deep_linear.build(plugins.load("norms", "none"), None, depth=3, seed=5)
    drawn = torch.empty(10, 10)
    torch.nn.init.xavier_uniform_(drawn, generator=streams.generator(5, "weights", 2))
    assert torch.equal(net.get_submodule("2").linear.weight, drawn.double())
