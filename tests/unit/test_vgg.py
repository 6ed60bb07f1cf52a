"""The task vgg: its net, its data and its loss."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from bnopt import plugins
from bnopt.files import images
from bnopt.run import streams
from bnopt.run.run import Run
from bnopt.tasks import vgg

CONVOLUTIONS = [4, 4, "M", 6, 6]
HIDDEN = [8, 7]
NORMS = plugins.names("norms")
CPU = torch.device("cpu")


def blank(channels=3, side=32, classes=10):
    """Return data of which only the shape matters."""
    return {
        "train_images": torch.zeros((1, channels, side, side), dtype=torch.uint8),
        "classes": classes,
    }


def net(norm="batch", seed=0, convolutions=CONVOLUTIONS, hidden=HIDDEN, **shape):
    return vgg.build(
        plugins.load("norms", norm), blank(**shape), convolutions=convolutions, hidden=hidden, seed=seed
    )


def trace(model, inputs):
    """Return the modules of a pass, in order: layer, kind of module, shape of one sample's output."""
    calls = []

    def record(layer):
        return lambda module, _inputs, output: calls.append(
            (layer, type(module).__name__, tuple(output.shape[1:]))
        )

    parts = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    hooks = [module.register_forward_hook(record(name.split(".")[0])) for name, module in parts]
    model(inputs)
    for hook in hooks:
        hook.remove()
    return calls


# -- the net --------------------------------------------------------------------------------------


def test_layers_are_counted_over_convolutions_then_linear_layers_with_a_norm_after_all_but_the_logits():
    model = net(side=8, channels=1)
    assert trace(model, torch.zeros(2, 1, 8, 8)) == [
        ("1", "Convolution", (4, 8, 8)),
        ("1", "BatchNorm", (4, 8, 8)),
        ("1", "ReLU", (4, 8, 8)),
        ("2", "Convolution", (4, 8, 8)),
        ("2", "BatchNorm", (4, 8, 8)),
        ("2", "ReLU", (4, 8, 8)),
        ("2", "MaxPool2d", (4, 4, 4)),
        ("3", "Convolution", (6, 4, 4)),
        ("3", "BatchNorm", (6, 4, 4)),
        ("3", "ReLU", (6, 4, 4)),
        ("4", "Convolution", (6, 4, 4)),
        ("4", "BatchNorm", (6, 4, 4)),
        ("4", "ReLU", (6, 4, 4)),
        ("5", "Flatten", (96,)),
        ("5", "Linear", (8,)),
        ("5", "BatchNorm", (8,)),
        ("5", "ReLU", (8,)),
        ("6", "Linear", (7,)),
        ("6", "BatchNorm", (7,)),
        ("6", "ReLU", (7,)),
        ("7", "Linear", (10,)),
    ]


def test_the_plain_net_has_the_same_layers_without_a_norm():
    kinds = [(layer, kind) for layer, kind, _ in trace(net("none"), torch.zeros(1, 3, 32, 32))]
    assert [layer for layer, kind in kinds if kind == "Identity"] == ["1", "2", "3", "4", "5", "6"]
    assert "BatchNorm" not in dict(kinds).values()


def test_a_net_without_hidden_layers_goes_from_convolutions_to_logits():
    calls = trace(net(hidden=[], side=8, channels=1), torch.zeros(2, 1, 8, 8))
    assert calls[-2:] == [("5", "Flatten", (96,)), ("5", "Linear", (10,))]


def test_the_sites_of_activations_are_modules_of_every_layer_but_the_logits():
    model = net("noisy_batch")
    for number in range(1, 7):
        for module in vgg.SITES.values():
            assert isinstance(model.get_submodule(f"{number}.{module}"), nn.Module)
    assert list(vgg.SITES) == ["before_relu", "after_relu"]


def test_the_paper_scale_is_vgg_16s_convolutions_a_hidden_layer_and_the_logits(config):
    model = vgg.build(
        plugins.load("norms", "batch"), blank(), **config["scales"]["paper"]["vgg"]["net"], seed=0
    )
    calls = trace(model, torch.zeros(2, 3, 32, 32))
    convolutions = [(int(layer), shape) for layer, kind, shape in calls if kind == "Convolution"]
    sides = [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2]
    widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert convolutions == [(n, (w, s, s)) for n, (w, s) in enumerate(zip(widths, sides, strict=True), 1)]
    # There are only four poolings, after layers 2, 4, 7 and 10; the hidden layer's input is 512 x 2 x 2.
    assert [int(layer) for layer, kind, _ in calls if kind == "MaxPool2d"] == [2, 4, 7, 10]
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(2048, 512), (512, 10)]
    assert [name for name, _ in model.named_children()] == [str(n) for n in range(1, 16)]

    expected, inputs = 0, 3
    for width in widths:
        expected += width * inputs * 9 + width + 2 * width
        inputs = width
    expected += 2048 * 512 + 512 + 2 * 512 + 512 * 10 + 10
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("scale", ["digits", "cifar10-small", "paper"])
def test_every_scale_has_the_layers_its_figures_name_below_the_logits(config, scale):
    sizes = config["scales"][scale]["vgg"]
    shape = {"channels": 1, "side": 8} if config["scales"][scale]["images"] == "digits" else {}
    model = vgg.build(plugins.load("norms", "none"), blank(**shape), **sizes["net"], seed=0)
    logits = len(list(model.children()))
    for number in sizes["layers"].values():
        assert 1 <= number < logits
        model.get_submodule(f"{number}.norm")


# -- the initial weights --------------------------------------------------------------------------


def test_weights_are_glorot_uniform_and_biases_zero():
    model = net(convolutions=[32, "M", 64], hidden=[50], side=8)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            outputs, inputs, *kernel = module.weight.shape
            bound = math.sqrt(6 / ((inputs + outputs) * math.prod(kernel)))
            weights = module.weight.detach()
            assert weights.abs().max() <= bound
            assert weights.max() > 0.98 * bound
            assert weights.min() < -0.98 * bound
            assert weights.var().item() == pytest.approx(bound**2 / 3, rel=0.1)
            assert torch.equal(module.bias, torch.zeros(outputs))


def test_one_seed_gives_every_norm_the_same_initial_weights():
    states = [net(norm).state_dict() for norm in NORMS]
    assert len(states) >= 4
    linear = [name for name in states[0] if "linear" in name]
    assert len(linear) == 14
    for state in states[1:]:
        assert [name for name in state if "linear" in name] == linear
        assert all(torch.equal(state[name], states[0][name]) for name in linear)


def test_initial_weights_do_not_depend_on_global_random_state():
    first = net().state_dict()
    torch.manual_seed(99)
    second = net().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_seeds_and_layers_have_different_initial_weights():
    weights = [net("none", seed, [4, 4, 4], [], channels=4).get_parameter(f"{n}.linear.weight")
               for seed in (0, 1) for n in (1, 2, 3)]  # fmt: skip
    assert all(w.shape == weights[0].shape for w in weights)
    for i, a in enumerate(weights):
        for b in weights[:i]:
            assert not torch.equal(a, b)


# -- data, loss, accuracy -------------------------------------------------------------------------


def test_batch_holds_the_standardised_images_and_labels_of_the_steps_samples(prepared):
    data = vgg.read(prepared, seed=0, batch_size=32, device=CPU)
    raw = images.read(prepared)
    for step in (0, 5, 7):
        inputs, labels = vgg.batch(data, seed=3, step=step, batch_size=16)
        chosen = streams.batch_indices(3, step, len(raw.train_labels), 16).tolist()
        for position, sample in enumerate(chosen):
            expected = (raw.train_images[sample].astype(float) - raw.mean[0]) / raw.std[0]
            np.testing.assert_allclose(inputs[position].numpy(), expected, rtol=1e-5, atol=1e-6)
            assert labels[position] == raw.train_labels[sample]


def test_channels_are_standardised_each_by_its_own_mean_and_deviation():
    data = {
        "train_images": torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1).repeat(4, 1, 2, 2),
        "train_labels": torch.arange(4),
        "mean": torch.tensor([8.0, 20.0, 31.0]).view(1, 3, 1, 1),
        "std": torch.tensor([2.0, 5.0, 0.5]).view(1, 3, 1, 1),
    }
    inputs, _ = vgg.batch(data, seed=0, step=0, batch_size=4)
    for channel, expected in enumerate((1.0, 0.0, -2.0)):
        assert torch.equal(inputs[:, channel], torch.full((4, 2, 2), expected))


def test_pixels_stay_bytes_and_chance_is_one_in_the_number_of_classes(prepared):
    data = vgg.read(prepared, seed=0, batch_size=32, device=CPU)
    assert data["train_images"].dtype == data["test_images"].dtype == torch.uint8
    assert vgg.chance(data) == 0.1


def test_loss_is_the_mean_cross_entropy():
    outputs = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [3.0, 1.0, 2.0], [-1.0, 4.0, 0.0]])
    labels = [2, 1, 0, 0]
    expected = 0
    for row, label in zip(outputs.tolist(), labels, strict=True):
        expected += -math.log(math.exp(row[label]) / sum(math.exp(v) for v in row)) / 4
    assert vgg.loss(outputs, torch.tensor(labels)).item() == pytest.approx(expected)


def test_accuracy_is_the_share_of_right_guesses():
    outputs = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.1, 0.0], [3.0, 1.0, 2.0], [-1.0, 4.0, 0.0]])
    assert vgg.accuracy(outputs, torch.tensor([2, 1, 0, 0])).item() == 0.5
    assert vgg.accuracy(outputs, torch.tensor([0, 1, 0, 1])).item() == 1


# -- the test set ---------------------------------------------------------------------------------


@pytest.fixture(params=NORMS)
def moved(request, prepared):
    """Data, and a net whose running statistics and noise make its two modes differ."""
    data = vgg.read(prepared, seed=0, batch_size=32, device=CPU)
    norm = plugins.load("norms", request.param)
    model = vgg.build(norm, data, convolutions=CONVOLUTIONS, hidden=[8], seed=0).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(15):
        inputs, labels = vgg.batch(data, seed=0, step=step, batch_size=32)
        optimiser.zero_grad()
        vgg.loss(model(inputs), labels).backward()
        optimiser.step()
    return data, model


def test_test_is_the_accuracy_one_sample_at_a_time_in_evaluation_mode(moved, prepared):
    data, model = moved
    raw = images.read(prepared)
    alone = copy.deepcopy(model).eval()
    right = 0
    with torch.no_grad():
        for pixels, label in zip(raw.test_images, raw.test_labels, strict=True):
            image = torch.from_numpy((pixels.astype(float) - raw.mean[0]) / raw.std[0]).float()
            right += int(alone(image[None])[0].argmax()) == label
    expected = right / len(raw.test_labels)
    for batch_size in (7, 60, 1000):
        assert vgg.test(model, data, batch_size=batch_size).item() == pytest.approx(expected)


def test_test_does_not_change_weights_or_running_statistics(moved):
    data, model = moved
    before = copy.deepcopy(model.state_dict())
    gradients = [p.grad.clone() for p in model.parameters()]
    random = torch.get_rng_state()
    vgg.test(model, data, batch_size=7)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, model.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("training", [True, False])
def test_test_restores_the_mode_it_found(prepared, training):
    data = vgg.read(prepared, seed=0, batch_size=32, device=CPU)
    model = vgg.build(plugins.load("norms", "batch"), data, convolutions=[4], hidden=[], seed=0)
    model.train(training)
    vgg.test(model, data)
    assert all(module.training == training for module in model.modules())


def test_weights_and_images_have_their_channels_adjacent_in_memory(prepared, sizes):
    run = Run(prepared, **sizes, norm="none", seed=0, device=torch.device("cpu"))
    weights = [p for p in run.model.parameters() if p.dim() == 4 and p.shape[1] > 1]
    assert len(weights) == 3
    # With three channels: with one, the two layouts are the same.
    pixels = run.data["train_images"][:5].expand(-1, 3, -1, -1)
    for tensor in (*weights, vgg._standardise(pixels, run.data)):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
        assert not tensor.is_contiguous()
