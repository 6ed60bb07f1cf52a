"""Quantities that others measure under the paper's names; they show how much the definition matters."""

import torch

from bnopt.run.vectors import descend, difference, length, value_and_gradient


def measure(point, *, step_sizes):
    """Return one row.

    predictiveness_evaluation   max over η of ‖g(θ_t − η g_t) − g_t‖₂, all gradients in evaluation mode
    beta_evaluation             max over η of that change divided by η ‖g_t‖₂
    consecutive_change          ‖∇L_{t+1}(θ_{t+1}) − ∇L_t(θ_t)‖₂ over consecutive, different batches

    η = s · lr, s in `step_sizes`. k step sizes cost k + 3 forward and backward passes.
    """

    def in_evaluation(parameters):
        return point.loss(parameters, training=False)

    def of_next_batch(parameters):
        return point.loss(parameters, step=point.step + 1)

    _, gradient = value_and_gradient(in_evaluation, point.parameters)
    changes, betas = [], []
    for size in step_sizes:
        eta = size * point.lr
        _, moved = value_and_gradient(in_evaluation, descend(point.parameters, gradient, eta))
        changes.append(length(difference(moved, gradient)))
        betas.append(changes[-1] / (eta * length(gradient)))

    _, own = point.value_and_gradient(point.parameters)
    _, following = value_and_gradient(of_next_batch, descend(point.parameters, own, point.lr))
    return [
        {
            "predictiveness_evaluation": torch.stack(changes).max().item(),
            "beta_evaluation": torch.stack(betas).max().item(),
            "consecutive_change": length(difference(following, own)).item(),
        }
    ]
