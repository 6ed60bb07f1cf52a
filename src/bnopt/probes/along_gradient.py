"""The landscape along the gradient (Figures 4, 10, 11, 12 and 13 of the paper).

At θ_t, with g_t the gradient of the loss of batch t, for each step size η: the loss and the change
of the gradient after a step of η down the gradient.
"""

from bnopt.probes._line import along_line


def measure(point, *, step_sizes):
    """Return a row per step size η = s · lr, s in `step_sizes`: those of `_line.along_line` with d = g_t.

    k step sizes cost k + 1 forward and backward passes.
    """
    _, gradient = point.value_and_gradient(point.parameters)
    return along_line(point, gradient, gradient, step_sizes=step_sizes)
