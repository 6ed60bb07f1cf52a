"""What is said of the theorems on trained nets, per layer and step."""

KEYS = ["condition", "seed", "layer", "step"]


def per_step(table):
    """Return a row per layer and step, means over the recorded units that are not dead.

    Every value of the probe `theorems` under its own name, such as thm4.1_mean_share; that of a premise,
    0 or 1 per unit, becomes the share of units for which it holds.
    """
    return table.drop(columns="unit").groupby(KEYS).mean().reset_index()
