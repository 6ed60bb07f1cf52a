"""The landscape along random directions, where the loss behaves similarly (Section 3.2 of the paper)."""

import torch

from bnopt.probes._line import along_line
from bnopt.run import streams
from bnopt.run.vectors import length


def measure(point, *, step_sizes, directions):
    """Return the rows of `_line.along_line` for random directions d and for −d.

    directions: number of random directions.

    direction     0+, 0-, 1+, ...; the other columns are those of `_line.along_line`

    d has Gaussian entries and the length of g_t. The entries of each parameter come from a random stream
    of (seed, direction, step, parameter). So two conditions draw the same values, up to the factor that
    sets the length, for the parameters that they share.
    r directions and k step sizes cost 2 r k + 1 forward and backward passes.
    """
    _, gradient = point.value_and_gradient(point.parameters)
    rows = []
    for number in range(directions):
        direction = _draw(point, number, like=gradient)
        for sign, factor in (("+", 1), ("-", -1)):
            signed = [factor * d for d in direction]
            rows += [
                {"direction": f"{number}{sign}"} | row
                for row in along_line(point, gradient, signed, step_sizes=step_sizes)
            ]
    return rows


def _draw(point, number, *, like):
    """Return random direction `number`, a list of tensors shaped like the parameters, as long as `like`."""
    draws = []
    for name, parameter in zip(point.names, point.parameters, strict=True):
        generator = streams.generator(point.seed, "direction", number, point.step, name)
        draw = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        draws.append(draw.to(parameter.device))
    scale = length(like) / length(draws)
    return [scale * draw for draw in draws]
