"""The theorems on trained nets, per layer and step."""

KEYS = ["condition", "seed", "layer", "step"]


def per_step(table):
    """Return one row per layer and step: means over the recorded units that are not dead.

    Columns are those of the probe `theorems`, such as thm4.1_mean_share. A premise is 0 or 1 per unit, so
    its mean is the share of units for which it holds.

    The figure `theorems` draws the shares of Theorem 4.1, the premise of Theorem 4.2, the sign of ⟨g, ŷ⟩
    and the definiteness of H. The other columns are for readers of the tables.
    """
    return table.drop(columns="unit").groupby(KEYS).mean().reset_index()
