"""A snapshot and the steps of the run that follow it: a run may oscillate with a period of two steps."""


def points(point, count):
    """Yield 0 and the point at θ_t, 1 and the point after the run's own update, and so on: `count` points.

    Each point has the batch and the noise of its own step. Every update costs one pass.
    """
    for phase in range(count):
        if phase:
            point = point.after_update()
        yield phase, point
