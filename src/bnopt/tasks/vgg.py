"""The task vgg: a VGG-like convolutional classifier of images, with cross-entropy loss."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional

from bnopt.files import images
from bnopt.run import streams
from bnopt.runtime import StudyError
from bnopt.tasks._convolution import Convolution

# The sites in a layer where activations are recorded: name in tables -> module within the layer.
SITES = {"before_relu": "norm", "after_relu": "relu"}


# Planning calls the next two functions without importing this file (`plugins.call`).
def widths(*, convolutions, hidden):
    """Return the number of units of every layer of the net except the last."""
    return [size for size in (*convolutions, *hidden) if size != "M"]


def image_side(*, convolutions, hidden):
    """Return the smallest possible side of the images in pixels: every max-pooling halves it."""
    del hidden
    return 2 ** convolutions.count("M")


def read(data, *, seed, batch_size, device):
    """Read prepared images onto the device.

    Pixels stay uint8 there, a quarter of the bytes of float32, and are standardised batch by batch.
    Raises StudyError if there are fewer training images than one batch needs.
    """
    del seed
    prepared = images.read(data)
    if batch_size > len(prepared.train_labels):
        raise StudyError(
            f"batch_size: expected at most the number of training images, {len(prepared.train_labels)}; "
            f"found {batch_size}"
        )
    data = {
        name: torch.from_numpy(getattr(prepared, name)).to(device)
        for name in ("train_images", "train_labels", "test_images", "test_labels")
    }
    for name in ("mean", "std"):
        value = torch.from_numpy(getattr(prepared, name)).float().to(device)
        data[name] = value.view(1, -1, 1, 1)
    data["classes"] = len(prepared.classes)
    return data


def chance(data):
    """Return the accuracy of guessing a class at random."""
    return 1 / data["classes"]


def build(norm, data, *, convolutions, hidden, seed):
    """Return the untrained net: a sequence of numbered layers, named "1", "2", ...

    Numbers count first the convolutions (3 x 3), then the linear layers. "M" in `convolutions` is a 2 x 2
    max-pooling at the end of the previous layer. Each layer is linear -> norm -> relu (-> pool); the last
    layer, the logits, is linear only. Weights are Glorot-uniform and biases zero. Weights are drawn per
    layer, so one seed gives the same initial weights with every norm.
    """
    channels, height, width = data["train_images"].shape[1:]
    layers = []
    for size in convolutions:
        if size == "M":
            layers[-1]["pool"] = nn.MaxPool2d(2)
            height, width = height // 2, width // 2
        else:
            layers.append(_layer(Convolution(channels, size), norm.build(size)))
            channels = size
    features = channels * height * width
    for size in hidden:
        layers.append(_layer(nn.Linear(features, size), norm.build(size)))
        features = size
    layers.append(OrderedDict(linear=nn.Linear(features, data["classes"])))
    first_linear = layers[-1 - len(hidden)]
    first_linear["flatten"] = nn.Flatten()
    first_linear.move_to_end("flatten", last=False)

    for number, layer in enumerate(layers, start=1):
        weights = streams.generator(seed, "weights", number)
        nn.init.xavier_uniform_(layer["linear"].weight, generator=weights)
        nn.init.zeros_(layer["linear"].bias)
    net = OrderedDict((str(n), nn.Sequential(layer)) for n, layer in enumerate(layers, start=1))
    return nn.Sequential(net).to(memory_format=torch.channels_last)


def _layer(linear, norm):
    return OrderedDict(linear=linear, norm=norm, relu=nn.ReLU())


def batch(data, *, seed, step, batch_size):
    """Return the standardised images and the labels of the batch of `step`."""
    labels = data["train_labels"]
    chosen = streams.batch_indices(seed, step, len(labels), batch_size, device=labels.device)
    return _standardise(data["train_images"][chosen], data), labels[chosen]


def _standardise(pixels, data):
    # Convolutions are fastest if the channels of a pixel are adjacent in memory.
    return ((pixels.float() - data["mean"]) / data["std"]).contiguous(memory_format=torch.channels_last)


def loss(outputs, labels):
    """Return the mean cross-entropy."""
    return functional.cross_entropy(outputs, labels)


def accuracy(outputs, labels):
    """Return the fraction of samples whose largest output belongs to their label."""
    return (outputs.argmax(1) == labels).float().mean()


@torch.no_grad()
def test(model, data, *, batch_size=1000):
    """Return the accuracy on the test images in evaluation mode, as a tensor; restore the mode of the net."""
    training = model.training
    model.eval()
    correct = sum(
        (model(_standardise(pixels, data)).argmax(1) == labels).sum()
        for pixels, labels in zip(
            data["test_images"].split(batch_size), data["test_labels"].split(batch_size), strict=True
        )
    )
    model.train(training)
    return correct / len(data["test_labels"])
