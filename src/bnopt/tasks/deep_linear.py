"""The task deep_linear: a deep linear network on Gaussian data, with a summed squared error.

All values are float64. In float32, differences at the smallest steps along the gradient would be
rounding errors, and the loss, of degree 2 x depth in the weights, would overflow.
"""

import math
from collections import OrderedDict

import torch
from torch import nn

from bnopt.run import streams
from bnopt.tasks import _virtual_samples

# The sites in a layer where activations are recorded (name in tables -> module within the layer): the output
# of the linear map, before the norm, and the output of the norm.
SITES = {"layer_output": "linear", "norm_output": "norm"}
WIDTH = 10


# Planning calls the next two functions without importing this file (`plugins.call`).
def widths(*, depth):
    """Return the number of units of every layer of the net except the last."""
    return [WIDTH] * (depth - 1)


def image_side(*, depth):
    """Return None: the task needs no images."""
    del depth


def read(data, *, seed, batch_size, device):
    """Return `batch_size` inputs x ~ N(0, I) and targets A x, with entries of A ~ N(0, 1); read no file.

    Each seed has its own inputs and its own A; all conditions share them.
    """
    del data
    inputs = torch.randn(batch_size, WIDTH, generator=streams.generator(seed, "inputs")).double()
    target_map = torch.randn(WIDTH, WIDTH, generator=streams.generator(seed, "target map")).double()
    return {"inputs": inputs.to(device), "targets": (inputs @ target_map.T).to(device)}


def chance(data):
    """Return NaN: the task has no classes to guess."""
    del data
    return math.nan


def build(norm, data, *, depth, seed):
    """Return the untrained net: a sequence of `depth` layers of 10 x 10 without bias, named "1", "2", ...

    Each layer is linear -> norm; the last is linear only. Weights are Glorot-uniform, drawn per layer.
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
    """Return all inputs and targets: every step uses the full batch."""
    del seed, step, batch_size
    return data["inputs"], data["targets"]


def loss(outputs, targets):
    """Return the squared error, summed over outputs and samples."""
    return (outputs - targets).square().sum()


def fast_pass(norm, model, data):
    """Return the loss and its gradient as a function of parameters, much faster than the net's own passes.

    It is `_virtual_samples.VirtualPass`, or None if the norm or the device has none.
    """
    return _virtual_samples.fast_pass(norm, model, data)


def accuracy(outputs, targets):
    """Return NaN, as a tensor: the task is not a classification."""
    del targets
    return outputs.new_full((), math.nan)


def test(model, data):
    """Return NaN: the task has no test set."""
    del model, data
    return math.nan
