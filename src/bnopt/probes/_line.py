"""The loss and its gradient along a line; shared by `along_gradient` and `random_directions`."""

import torch

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
    etas = [size * point.lr for size in step_sizes]
    measured = (_at_once if point.run.fast_pass else _one_by_one)(point, gradient, direction, etas)
    return [
        {
            "lr": point.lr,
            "eta": eta,
            "loss": loss,
            "gradient_change": change,
            "gradient_length": gradient_length,
        }
        for eta, (loss, change) in zip(etas, measured, strict=True)
    ]


def _one_by_one(point, gradient, direction, etas):
    """Yield the loss and the change of the gradient at every η."""
    for eta in etas:
        loss, moved = point.value_and_gradient(descend(point.parameters, direction, eta))
        yield loss.item(), length(difference(moved, gradient)).item()


def _at_once(point, gradient, direction, etas):
    """Return the same from one fast pass of all θ_t − η d, stacked."""
    steps = torch.tensor(etas, dtype=torch.float64)
    stacked = [
        p - steps.view(-1, *[1] * p.dim()) * d for p, d in zip(point.parameters, direction, strict=True)
    ]
    losses, moved = point.run.fast_pass(stacked)
    changes = [
        torch.linalg.vector_norm((m - g).flatten(1), dim=1) for m, g in zip(moved, gradient, strict=True)
    ]
    return zip(losses.tolist(), torch.linalg.vector_norm(torch.stack(changes), dim=0).tolist(), strict=True)
