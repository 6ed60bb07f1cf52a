"""Convolutions of small images as matrices: on CPUs, PyTorch's convolutions in float64 are slow."""

import torch
from torch import nn
from torch.nn import functional

# A matrix of a larger convolution is mostly zeros, or leaves the processor's cache.
MOST_PIXELS, MOST_INPUTS = 4 * 4, 1024


class MatrixMap(nn.Module):
    """A fixed affine map of images as one matrix: what the map makes of the unit vectors.

    shape: of one input, without the batch. Outputs equal those of the map up to rounding.
    """

    def __init__(self, affine, shape):
        super().__init__()
        size = shape.numel()
        dtype = next(affine.parameters()).dtype
        with torch.no_grad():
            offset = affine(torch.zeros(1, *shape, dtype=dtype))
            images = affine(torch.eye(size, dtype=dtype).view(size, *shape))
            self.matrix = (images - offset).flatten(1).T.contiguous()
        self.offset, self.shape = offset.flatten(), offset.shape[1:]

    def forward(self, inputs):
        return functional.linear(inputs.flatten(1), self.matrix, self.offset).view(-1, *self.shape)


@torch.no_grad()
def as_matrices(modules, inputs):
    """Return modules that are called one after the other, with matrices for convolutions of small images.

    inputs: those of the first module. On GPUs, convolutions in float64 are fast and stay as they are.
    """
    found = []
    for module in modules:
        outputs = module(inputs)
        if isinstance(module, nn.Conv2d) and _is_small(inputs):
            module = MatrixMap(module, inputs.shape[1:])
        found.append(module)
        inputs = outputs
    return found


def _is_small(images):
    size = images.shape[1:].numel()
    return images.device.type == "cpu" and images.shape[2:].numel() <= MOST_PIXELS and size <= MOST_INPUTS
