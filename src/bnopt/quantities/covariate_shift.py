"""Internal covariate shift, per layer and step (Figure 3 of the paper)."""

COLUMNS = ["condition", "seed", "layer", "step", "difference", "relative_difference", "cosine"]


def per_step(table):
    """Return ‖G − G′‖₂, ‖G − G′‖₂ / ‖G‖₂ and cos(G, G′) per layer and step."""
    return table[COLUMNS]
