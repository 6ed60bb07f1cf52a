"""The loss and its gradient along a line; shared by `along_gradient` and `random_directions`."""

from bnopt.run.vectors import descend, difference, length


def along_line(point, gradient, direction, *, step_sizes):
    """Return one row per step size η = s · lr, s in `step_sizes`, for steps from θ_t down `direction`.

    gradient, direction: g_t and d, lists of tensors shaped like the parameters.

    lr, eta           learning rate of the run; η
    loss              L(θ_t − η d)
    gradient_change   ‖g(θ_t − η d) − g_t‖₂
    gradient_length   ‖g_t‖₂, the same in every row

    Everything is measured on batch t in training mode, over all parameters. `quantities/_extrema.py`
    reads every column.
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
