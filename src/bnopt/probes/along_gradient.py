"""The landscape along the gradient (Figures 4, 10, 11, 12 and 13 of the paper).

g_t is the gradient, at θ_t, of the loss of batch t. For each step size η, the probe takes a step of η
down g_t and measures there the loss and the change of the gradient.
"""

from bnopt.probes._line import along_line


def measure(point, *, step_sizes):
    """Return the rows of `_line.along_line` with d = g_t, one per step size η = s · lr, s in `step_sizes`.

    They include the columns loss_at_start and inner. From these follow the relative progress
    (loss − loss_at_start) / (η ‖g_t‖²), −1 for η → 0, and the directional smoothness (1 − inner) / η.

    k step sizes cost k + 1 forward and backward passes.
    """
    loss, gradient = point.value_and_gradient(point.parameters)
    return along_line(point, gradient, gradient, step_sizes=step_sizes, loss_at_start=loss.item())
