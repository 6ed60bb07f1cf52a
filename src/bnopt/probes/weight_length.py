"""The length of each layer's weights: the unit in which smoothness is measured.

A layer followed by a norm of its outputs computes the same function with weights of any length, up to the
norm's ε. Half the weights means twice their gradient and four times their block of the Hessian. So the
smoothness of a plain net and of a normalised net are in different units.
"""

from bnopt.run.vectors import cosine, length


def measure(point, *, layers):
    """Return one row per layer.

    layers: name -> number of the layer, counted from 1. w are the weights of the layer's linear map,
    without its bias, and g = ∂L/∂w is their gradient for batch t at θ_t in training mode. If the norm
    computes the weights from other parameters, w are these.

    layer              name of the layer
    weight_length      ‖w‖₂
    gradient_length    ‖g‖₂
    effective_rate     lr / ‖w‖₂²: the learning rate of w / ‖w‖₂ if the function does not depend on ‖w‖₂
    cosine             ⟨w, g⟩ / (‖w‖₂ ‖g‖₂): 0 if the function does not depend on ‖w‖₂; NaN if g is zero

    With batch normalisation, it holds for the weights w_j and the bias b_j of unit j

        ⟨w_j, g_j⟩ = γ_j (∂L/∂γ_j) ε / (σ_j² + ε),      ∂L/∂b_j = 0,

    where σ_j² is the variance of the unit's outputs over the batch. Cost: one pass.
    """
    _, gradient = point.value_and_gradient(point.parameters)
    rows = []
    for name, number in layers.items():
        own = [i for i in point.own(number) if _is_weight(point.names[i])]
        w, g = ([values[i] for i in own] for values in (point.parameters, gradient))
        size = length(w).item()
        rows.append(
            {
                "layer": name,
                "weight_length": size,
                "gradient_length": length(g).item(),
                "effective_rate": point.lr / size**2,
                "cosine": cosine(w, g).item(),
            }
        )
    return rows


def _is_weight(name):
    """Return whether a parameter is the weights of a linear map, or one of those they are computed from."""
    _, module, *rest = name.split(".")
    return module == "linear" and "weight" in rest
