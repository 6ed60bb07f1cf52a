"""The loss and its gradient along a line; shared by `along_gradient` and `random_directions`."""

import torch

from bnopt.run.vectors import descend, difference, inner, length


def along_line(point, gradient, direction, *, step_sizes, loss_at_start=None):
    """Return one row per step size η = s · lr, s in `step_sizes`, for steps from θ_t down `direction`.

    gradient, direction: g_t and d, lists of tensors shaped like the parameters.

    lr, eta           learning rate of the run; η
    loss              L(θ_t − η d)
    gradient_change   ‖g(θ_t − η d) − g_t‖₂
    gradient_length   ‖g_t‖₂, the same in every row

    If `loss_at_start` is given, rows have two more columns, at no further pass:

    loss_at_start     L(θ_t), the same in every row
    inner             ⟨g(θ_t − η d), g_t⟩ / ‖g_t‖₂²; NaN if g_t is zero

    Everything is measured on batch t in training mode, over all parameters. `quantities/_extrema.py`
    reads all columns but these two.
    """
    gradient_length = length(gradient).item()
    etas = [size * point.lr for size in step_sizes]
    more = loss_at_start is not None
    measured = (_at_once if point.run.fast_pass else _one_by_one)(point, gradient, direction, etas, more)
    rows = []
    for eta, (loss, change, *products) in zip(etas, measured, strict=True):
        row = {
            "lr": point.lr,
            "eta": eta,
            "loss": loss,
            "gradient_change": change,
            "gradient_length": gradient_length,
        }
        if more:
            row |= {"loss_at_start": loss_at_start, "inner": products[0]}
        rows.append(row)
    return rows


def _one_by_one(point, gradient, direction, etas, more):
    """Yield the loss, the change of the gradient and, if `more`, `inner`, at every η."""
    squared = inner(gradient, gradient) if more else None
    for eta in etas:
        loss, moved = point.value_and_gradient(descend(point.parameters, direction, eta))
        products = [(inner(moved, gradient) / squared).item()] if more else []
        yield loss.item(), length(difference(moved, gradient)).item(), *products


def _at_once(point, gradient, direction, etas, more):
    """Return the same from one fast pass of all θ_t − η d, stacked."""
    steps = torch.tensor(etas, dtype=torch.float64)
    stacked = [
        p - steps.view(-1, *[1] * p.dim()) * d for p, d in zip(point.parameters, direction, strict=True)
    ]
    losses, moved = point.run.fast_pass(stacked)
    changes = [
        torch.linalg.vector_norm((m - g).flatten(1), dim=1) for m, g in zip(moved, gradient, strict=True)
    ]
    columns = [losses, torch.linalg.vector_norm(torch.stack(changes), dim=0)]
    if more:
        products = sum((m * g).flatten(1).sum(1) for m, g in zip(moved, gradient, strict=True))
        columns.append(products / inner(gradient, gradient))
    return zip(*(column.tolist() for column in columns), strict=True)
