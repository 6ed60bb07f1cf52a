"""What is said of the landscape along random directions, per step (Section 3.2 of the paper)."""

from bnopt.quantities._extrema import extrema


def per_step(table):
    """Return the columns of `landscape.extrema` per step, each a mean over the directions."""
    per_direction = extrema(table, ["condition", "seed", "step", "direction"])
    steps = per_direction.drop(columns="direction").groupby(["condition", "seed", "step"], sort=False)
    return steps.mean().reset_index()
