"""Internal covariate shift (Definition 2.1 of the paper) beside what the Hessian predicts of it.

To first order in lr, the update of the layers before layer i changes its gradient G to

    G′ = G − lr H_{i,<i} g_{<i},

with g_{<i} the gradient of everything before layer i, γ and β of its norms included, and H_{i,<i} the block
of the Hessian of layer i and everything before it. Where H is nearly of rank one along g, this is

    G′ ≈ (1 − lr κ s_i) G,      κ = gᵀHg / ‖g‖²,      s_i = ‖g_{<i}‖² / ‖g‖².

So the cosine of G and G′ turns from 1 to −1 where lr κ s_i passes 1.
"""

import torch

from bnopt.probes import _phases
from bnopt.probes._shifted import shifted
from bnopt.run.vectors import cosine, descend, difference, inner, length


def measure(point, *, layers, every, phases):
    """Return one row per phase and layer at every `every`-th step; at other steps return no rows.

    layers: name -> number of the layer, counted from 1. Layer 1 has no layer before it: its G′ is G.
    phases: 1 measures at θ_t; 2 measures also at θ_{t+1} = θ_t − lr g_t with batch t + 1, and so on.

    All gradients are those of one batch in training mode. ‖·‖ is ‖·‖₂.

    phase, lr, layer                0 at θ_t, 1 at θ_{t+1}; learning rate of the run; name of the layer
    share_before                    s_i
    gradient_curvature              κ; the same for all layers
    relative_difference             ‖G − G′‖ / ‖G‖, as in the probe `covariate_shift`
    cosine                          ⟨G, G′⟩ / (‖G‖ ‖G′‖), as in the probe `covariate_shift`
    first_order_relative_difference ‖lr H_{i,<i} g_{<i}‖ / ‖G‖
    first_order_cosine              cosine of G and G − lr H_{i,<i} g_{<i}
    log_over_first_order            ln of relative_difference / first_order_relative_difference
    log_over_rank_one               ln of relative_difference / (lr |κ| s_i)

    Values that divide by zero or take its logarithm are NaN or ±∞, as for layer 1.

    Cost per phase: two passes and a Hessian product (two to four passes) for κ, then for every layer a
    Hessian product and G′ (`_shifted.shifted`). Hessian products take the net's own passes, also in a run
    with a fast pass.
    """
    if point.step % every:
        return []
    rows = []
    for phase, at in _phases.points(point, phases):
        rows += [{"phase": phase, "lr": at.lr} | row for row in _shifts(at, layers)]
    return rows


def _shifts(point, layers):
    """Yield the row of each layer, without the phase and the learning rate."""
    _, gradient = point.value_and_gradient(point.parameters)
    _, _, hessian = point.value_gradient_and_hessian(point.parameters)
    squared = inner(gradient, gradient)
    kappa = inner(gradient, hessian(gradient)) / squared
    names = {number: name for name, number in layers.items()}
    for number, after in shifted(point, gradient, sorted(names)):
        own = point.own(number)
        earlier = [g if i < own[0] else torch.zeros_like(g) for i, g in enumerate(gradient)]
        curved = hessian(earlier)
        before = [gradient[i] for i in own]
        predicted = descend(before, [curved[i] for i in own], point.lr)
        share = inner(earlier, earlier) / squared
        measured, first_order = (length(difference(before, g)) / length(before) for g in (after, predicted))
        values = {
            "share_before": share,
            "gradient_curvature": kappa,
            "relative_difference": measured,
            "cosine": cosine(before, after),
            "first_order_relative_difference": first_order,
            "first_order_cosine": cosine(before, predicted),
            "log_over_first_order": (measured / first_order).log(),
            "log_over_rank_one": (measured / (point.lr * kappa.abs() * share)).log(),
        }
        yield {"layer": names[number]} | {name: value.item() for name, value in values.items()}
