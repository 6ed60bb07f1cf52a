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


def value_gradient_and_hessian(loss, parameters):
    """Return L(θ), its gradient g and its Hessian H at θ, the latter as a function v -> Hv; all detached.

    v and Hv are lists of tensors shaped like the parameters. H is ∇²L wherever L has one: kinks, as those
    of ReLU, are invisible to it. The function keeps the tensors of a pass alive.
    """
    leaves = [p.detach().requires_grad_() for p in parameters]
    value = loss(leaves)
    gradient = torch.autograd.grad(value, leaves, create_graph=True)

    def product(v):
        # A derivative that is constant has no graph, and a row of zeros in H.
        curved = [(g, x) for g, x in zip(gradient, v, strict=True) if g.requires_grad]
        if not curved:
            return [torch.zeros_like(p) for p in parameters]
        slopes, vectors = zip(*curved, strict=True)
        return torch.autograd.grad(slopes, leaves, vectors, retain_graph=True, materialize_grads=True)

    return value.detach(), [g.detach() for g in gradient], product


def inner(a, b):
    """Return ⟨a, b⟩."""
    return torch.stack([torch.sum(x * y) for x, y in zip(a, b, strict=True)]).sum()


def flat(tensors):
    """Return the entries of all tensors as one vector of float64."""
    return torch.cat([t.flatten() for t in tensors]).double()


def parts(vector, like):
    """Return the list of tensors, with shapes and dtypes as `like`, of which `vector` is the flat form."""
    cut = vector.split([t.numel() for t in like])
    return [part.view(t.shape).to(t.dtype) for part, t in zip(cut, like, strict=True)]


def cosine(a, b):
    """Return the cosine of the angle between two vectors; NaN if one of them is zero."""
    return inner(a, b) / (length(a) * length(b))
