"""Internal covariate shift as the paper defines it (Definition 2.1, Figure 3).

It is the change of a layer's gradient when the layers before it take the run's own SGD step.
"""

import torch

from bnopt.run.vectors import cosine, descend, difference, length, value_and_gradient


def measure(point, *, layers):
    """Return one row per layer i, with two gradients of the loss of batch t:

        G  = ∇_{W_i} L(W_1ᵗ ... W_kᵗ)
        G′ = ∇_{W_i} L(W_1ᵗ⁺¹ ... W_{i−1}ᵗ⁺¹, W_iᵗ ... W_kᵗ)

    W_i are all parameters of layer i and of its norm; W^{t+1} = W^t − lr g_t. Layer 1 has no layer
    before it, so its G′ is G.

    layers: name -> number of the layer, counted from 1.

    layer                  name of the layer
    difference             ‖G − G′‖₂
    relative_difference    ‖G − G′‖₂ / ‖G‖₂; NaN if G is zero
    cosine                 ⟨G, G′⟩ / (‖G‖₂ ‖G′‖₂); NaN if G or G′ is zero
    gradient_length        ‖G‖₂; no quantity uses it: it is for readers of the table

    The probe passes the output of each updated layer on to the next. So G′ of layer i costs a forward
    pass from layer i on and a backward pass that stops at layer i. All k layers together cost about
    half of k full passes. A run with a fast pass makes one fast pass per layer instead.
    """
    _, gradient = point.value_and_gradient(point.parameters)
    updated = descend(point.parameters, gradient, point.lr)
    names = {number: name for name, number in layers.items()}
    shifted = (_fast_shifted if point.run.fast_pass else _shifted)(point, updated, sorted(names))
    rows = []
    for number, after in shifted:
        before = [gradient[i] for i in point.own(number)]
        change = length(difference(before, after)).item()
        size = length(before).item()
        rows.append(
            {
                "layer": names[number],
                "difference": change,
                "relative_difference": change / size if size else float("nan"),
                "cosine": cosine(before, after).item(),
                "gradient_length": size,
            }
        )
    return rows


def _shifted(point, updated, numbers):
    """Yield the number of each layer and its G′; updated: W^{t+1}."""
    activations = point.inputs()
    for number in range(1, max(numbers) + 1):
        if number in numbers:
            yield number, _own_gradient(point, number, point.own(number), activations)
        with torch.no_grad():
            activations = point.layer(number, updated, activations)


def _fast_shifted(point, updated, numbers):
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
