"""The landscape along random directions (Section 3.2 of the paper: the loss "behaves similarly" there)."""

import torch

from bnopt.probes._line import along_line
from bnopt.run import streams
from bnopt.run.vectors import length


def measure(point, *, step_sizes, directions):
    """Return the rows of `along_gradient` for random directions d instead of g_t, both signs of each.

    direction     0+, 0-, 1+, ...; the rest as in `along_gradient`

    d has Gaussian entries and the length of g_t. Its entries are drawn per parameter from a stream of
    (seed, step, parameter): parameters that two conditions share get the same draw in both.
    With r directions and k step sizes: 2 r k + 1 forward and backward passes.
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
    draws = []
    for name, parameter in zip(point.names, point.parameters, strict=True):
        generator = streams.generator(point.seed, "direction", number, point.step, name)
        draw = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        draws.append(draw.to(parameter.device))
    scale = length(like) / length(draws)
    return [scale * draw for draw in draws]
