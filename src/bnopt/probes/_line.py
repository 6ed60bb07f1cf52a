"""Steps along a line, which the probes along the gradient and along random directions share."""

from bnopt.run.vectors import descend, difference, length


def along_line(point, gradient, direction, *, step_sizes):
    """Return a row per step size η = s · lr, s in `step_sizes`, for steps from θ_t down `direction`.

    gradient, direction: lists of tensors like the parameters, g_t and d.
    lr, eta           the learning rate of the run, and η
    loss              L(θ_t − η d)
    gradient_change   ‖g(θ_t − η d) − g_t‖₂
    gradient_length   ‖g_t‖₂, the same in every row

    All on batch t in training mode, over all parameters.
    """
    gradient_length = length(gradient).item()
    rows = []
    for size in step_sizes:
        eta = size * point.lr
        loss, moved = point.value_and_gradient(descend(point.parameters, direction, eta))
        rows.append(
            {
                "lr": point.lr,
                "eta": eta,
                "loss": loss.item(),
                "gradient_change": length(difference(moved, gradient)).item(),
                "gradient_length": gradient_length,
            }
        )
    return rows
