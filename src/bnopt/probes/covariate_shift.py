"""Internal covariate shift as the paper defines it (Definition 2.1, Figure 3).

It is the change of a layer's gradient when the layers before it take the run's own SGD step.
"""

from bnopt.probes._shifted import shifted
from bnopt.run.vectors import cosine, difference, length


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

    Cost: one pass for G, and those of `_shifted.shifted`.
    """
    _, gradient = point.value_and_gradient(point.parameters)
    names = {number: name for name, number in layers.items()}
    rows = []
    for number, after in shifted(point, gradient, sorted(names)):
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
