"""Vectors stored as lists of tensors, such as all parameters of a net or their gradients."""

import torch


def length(tensors):
    """Return the Euclidean length ‖·‖₂, over all entries of all tensors."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t) for t in tensors]))


def difference(a, b):
    """Return a − b."""
    return [x - y for x, y in zip(a, b, strict=True)]


def descend(parameters, gradient, step_size):
    """Return θ − η g, with the same rounding and memory layout as an update of plain SGD."""
    return [
        torch.add(p, g, alpha=-step_size, out=torch.empty_like(p))
        for p, g in zip(parameters, gradient, strict=True)
    ]


def value_and_gradient(loss, parameters):
    """Return L(θ) and its gradient at θ, both detached."""
    leaves = [p.detach().requires_grad_() for p in parameters]
    value = loss(leaves)
    return value.detach(), torch.autograd.grad(value, leaves)


def cosine(a, b):
    """Return the cosine of the angle between two vectors; NaN if one of them is zero."""
    product = torch.stack([torch.sum(x * y) for x, y in zip(a, b, strict=True)]).sum()
    return product / (length(a) * length(b))
