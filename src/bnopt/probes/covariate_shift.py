"""Internal covariate shift as the paper defines it (Definition 2.1, Figure 3).

How much the gradient of a layer changes when the layers before it take the run's own step of SGD.
"""

import torch

from bnopt.run.vectors import cosine, descend, difference, length, value_and_gradient


def measure(point, *, layers):
    """Return a row per layer i, with G = ∇_{W_i} L(W_1ᵗ ... W_kᵗ) and
    G′ = ∇_{W_i} L(W_1ᵗ⁺¹ ... W_{i−1}ᵗ⁺¹, W_iᵗ ... W_kᵗ), both on batch t.

    layers: name -> number of the layer, counted from 1.
    layer                  the name
    difference             ‖G − G′‖₂
    relative_difference    ‖G − G′‖₂ / ‖G‖₂
    cosine                 ⟨G, G′⟩ / (‖G‖₂ ‖G′‖₂)
    gradient_length          ‖G‖₂

    W_i are all parameters of layer i with its norm; W^{t+1} = W^t − lr g_t. Layer 1 has no
    predecessors, so there G′ = G. What the updated layers give is carried along from layer to layer:
    G′ of layer i costs one forward from layer i on and a backward that stops there, and all k layers
    together about half of k full passes.
    """
    _, gradient = point.value_and_gradient(point.parameters)
    updated = descend(point.parameters, gradient, point.lr)
    names = {number: name for name, number in layers.items()}
    rows = []
    activations = point.inputs()
    for number in range(1, max(names) + 1):
        if number in names:
            own = point.own(number)
            shifted = _own_gradient(point, number, own, activations)
            before = [gradient[i] for i in own]
            change = length(difference(before, shifted)).item()
            size = length(before).item()
            rows.append(
                {
                    "layer": names[number],
                    "difference": change,
                    "relative_difference": change / size if size else float("nan"),
                    "cosine": cosine(before, shifted).item(),
                    "gradient_length": size,
                }
            )
        with torch.no_grad():
            activations = point.layer(number, updated, activations)
    return rows


def _own_gradient(point, number, own, activations):
    """Return the gradient with respect to the parameters `own` of a layer, given the layer's inputs."""

    def loss(values):
        parameters = list(point.parameters)
        for i, value in zip(own, values, strict=True):
            parameters[i] = value
        return point.loss_from(number, parameters, activations)

    return value_and_gradient(loss, [point.parameters[i] for i in own])[1]
