"""Internal covariate shift beside what the Hessian predicts of it, per layer and step."""

KEYS = ["condition", "seed", "layer", "step"]


def per_step(table):
    """Return one row per layer and step: means over the phases of the columns of the probe."""
    return table.drop(columns=["phase", "lr"]).groupby(KEYS, sort=False).mean().reset_index()
