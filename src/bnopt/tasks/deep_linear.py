"""The task deep_linear: a deep linear network on Gaussian data, with a summed squared error.

In float64 throughout: at the smallest steps along the gradient float32 differences are rounding, and
losses of degree 2 x depth overflow it.
"""

import math
from collections import OrderedDict

import torch
from torch import nn

from bnopt.run import streams

# Where in a layer activations are recorded: its own output, before the norm, and the norm's output.
SITES = {"layer_output": "linear", "norm_output": "norm"}
WIDTH = 10


# Planning calls the next two without importing this file (`plugins.call`).
def widths(*, depth):
    """Return the units of every layer of the net but the last."""
    return [WIDTH] * (depth - 1)


def image_side(*, depth):
    """Return None: the task needs no images."""
    del depth


def read(data, *, seed, batch_size, device):
    """Return `batch_size` inputs x ~ N(0, I) and targets A x, with entries of A ~ N(0, 1); no file is read.

    Drawn anew for each seed, the same for every condition.
    """
    del data
    inputs = torch.randn(batch_size, WIDTH, generator=streams.generator(seed, "inputs")).double()
    target_map = torch.randn(WIDTH, WIDTH, generator=streams.generator(seed, "target map")).double()
    return {"inputs": inputs.to(device), "targets": (inputs @ target_map.T).to(device)}


def chance(data):
    """Return NaN: there are no classes to guess."""
    del data
    return math.nan


def build(norm, data, *, depth, seed):
    """Return `depth` linear layers of 10 x 10 without bias, named "1", "2", ..., as a sequence.

    Each layer is linear -> norm, the last linear alone. Glorot-uniform weights, drawn per layer.
    """
    del data
    layers = [OrderedDict(linear=nn.Linear(WIDTH, WIDTH, bias=False)) for _ in range(depth)]
    for number, layer in enumerate(layers, start=1):
        nn.init.xavier_uniform_(layer["linear"].weight, generator=streams.generator(seed, "weights", number))
        if number < depth:
            layer["norm"] = norm.build(WIDTH)
    net = OrderedDict((str(n), nn.Sequential(layer)) for n, layer in enumerate(layers, start=1))
    return nn.Sequential(net).double()


def batch(data, *, seed, step, batch_size):
    """Return all inputs and targets: gradient descent is full-batch."""
    del seed, step, batch_size
    return data["inputs"], data["targets"]


def loss(outputs, targets):
    """Return the squared error, summed over outputs and samples."""
    return (outputs - targets).square().sum()


def accuracy(outputs, targets):
    """Return NaN, as a tensor: this is no classification."""
    del targets
    return outputs.new_full((), math.nan)


def test(model, data):
    """Return NaN: there is no test set."""
    del model, data
    return math.nan
