"""How gradients grow on their way through the layers, and how many directions the outputs of a layer have."""

import torch


def measure(point, *, layers):
    """Return one row per layer, at θ_t for batch t in training mode.

    layers: name -> number of the layer, counted from 1. Y_l are the outputs of the linear map of layer l,
    before its norm, as a matrix: a row per sample (and position), a column per unit. δ_l = ∂L/∂Y_l.

    layer              name of the layer
    gradient_length    ‖δ_l‖, over all entries
    stable_rank        ‖Y_l‖_F² / ‖Y_l‖², with the spectral norm: from 1 to the number of units; a rank
                       that ignores directions with small singular values. Means are not subtracted. NaN
                       if Y_l is zero
    growth             (‖δ_1‖ / ‖δ_{k−1}‖)^{1/(k−2)}, k the number of layers with the logits: the factor
                       per layer by which the gradient grows on its way to the inputs; the same in
                       every row. NaN if δ_{k−1} is zero or k < 3

    Cost: one pass, the net's own also in a run with a fast pass, and a product YᵀY per layer.
    """
    last = len(point.run.model) - 1
    modules = {number: f"{number}.linear" for number in sorted({*layers.values(), 1, max(last, 1)})}
    outputs, gradients = point.outputs_and_gradients(point.parameters, modules.values())
    lengths = {number: gradients[module].double().norm().item() for number, module in modules.items()}
    growth = (lengths[1] / lengths[last]) ** (1 / (last - 1)) if last > 1 and lengths[last] else torch.nan
    return [
        {
            "layer": name,
            "gradient_length": lengths[number],
            "stable_rank": _stable_rank(outputs[modules[number]]),
            "growth": growth,
        }
        for name, number in layers.items()
    ]


def _stable_rank(output):
    """Return ‖Y‖_F² / ‖Y‖² of outputs of shape (batch, units, ...); NaN if they are zero or not finite."""
    columns = output.transpose(0, 1).flatten(1).double()
    gram = columns @ columns.T
    if not gram.isfinite().all():
        return torch.nan
    return (gram.trace() / torch.linalg.eigvalsh(gram)[-1]).item()
