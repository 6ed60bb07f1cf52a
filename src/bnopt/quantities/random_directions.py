"""The landscape along random directions, per step (Section 3.2 of the paper)."""

from bnopt.quantities._extrema import extrema


def per_step(table):
    """Return the columns of `_extrema.extrema` per step, each a mean over the directions.

    Claims use loss_variation, predictiveness and beta. The other columns are for readers of the tables.
    """
    per_direction = extrema(table, ["condition", "seed", "step", "direction"])
    steps = per_direction.drop(columns="direction").groupby(["condition", "seed", "step"], sort=False)
    return steps.mean().reset_index()
