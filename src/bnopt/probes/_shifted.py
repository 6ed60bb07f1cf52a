"""The gradient of a layer after the update of the layers before it (Definition 2.1 of the paper).

`covariate_shift` and `shift_is_curvature` share it.
"""

import torch

from bnopt.run.vectors import descend, value_and_gradient


def shifted(point, gradient, numbers):
    """Yield the number of each layer i and G′ = ∇_{W_i} L(W_1ᵗ⁺¹ ... W_{i−1}ᵗ⁺¹, W_iᵗ ... W_kᵗ).

    gradient: g_t, with which W^{t+1} = W^t − lr g_t; numbers: the layers, counted from 1, in order.

    The output of each updated layer is passed on to the next. So G′ of layer i costs a forward pass from
    layer i on and a backward pass that stops at layer i. All k layers together cost about half of k full
    passes. A run with a fast pass makes one fast pass per layer instead.
    """
    updated = descend(point.parameters, gradient, point.lr)
    yield from (_fast if point.run.fast_pass else _one_by_one)(point, updated, numbers)


def _one_by_one(point, updated, numbers):
    """Yield the number of each layer and its G′; updated: W^{t+1}."""
    activations = point.inputs()
    for number in range(1, max(numbers) + 1):
        if number in numbers:
            yield number, _own_gradient(point, number, point.own(number), activations)
        with torch.no_grad():
            activations = point.layer(number, updated, activations)


def _fast(point, updated, numbers):
    """Yield the same from a fast pass per layer: G and G′ come from one function, with the same rounding."""
    for number in numbers:
        first = point.own(number)[0]
        _, gradient = point.value_and_gradient([*updated[:first], *point.parameters[first:]])
        yield number, [gradient[i] for i in point.own(number)]


def _own_gradient(point, number, own, activations):
    """Return the gradient of a layer's parameters; own: their indices; activations: the layer's inputs."""

    def loss(values):
        parameters = list(point.parameters)
        for i, value in zip(own, values, strict=True):
            parameters[i] = value
        return point.loss_from(number, parameters, activations)

    return value_and_gradient(loss, [point.parameters[i] for i in own])[1]
