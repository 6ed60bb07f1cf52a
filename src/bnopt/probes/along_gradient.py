"""The landscape along the gradient (Figures 4, 10, 11, 12 and 13 of the paper).

At θ_t, with g_t the gradient of the loss of batch t, for each step size η: the loss and the change
of the gradient after a step of η down the gradient.
"""

from bnopt.run.vectors import descend, difference, norm


def measure(point, *, step_sizes):
    """Return a row per step size η = s · lr, s in `step_sizes`.

    lr, eta           the learning rate of the run, and η
    loss              L(θ_t − η g_t)
    gradient_change   ‖g(θ_t − η g_t) − g_t‖₂
    gradient_norm     ‖g_t‖₂, the same in every row

    All on batch t in training mode, over all parameters. k step sizes cost k + 1 forward and
    backward passes.
    """
    _, gradient = point.value_and_gradient(point.parameters)
    return landscape(point, gradient, gradient, step_sizes=step_sizes)


def landscape(point, gradient, direction, *, step_sizes):
    """Return the rows described above for steps down `direction`, a list of tensors like the parameters."""
    gradient_norm = norm(gradient).item()
    rows = []
    for size in step_sizes:
        eta = size * point.lr
        loss, moved = point.value_and_gradient(descend(point.parameters, direction, eta))
        rows.append(
            {
                "lr": point.lr,
                "eta": eta,
                "loss": loss.item(),
                "gradient_change": norm(difference(moved, gradient)).item(),
                "gradient_norm": gradient_norm,
            }
        )
    return rows
