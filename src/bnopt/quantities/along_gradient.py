"""What is said of the landscape along the gradient, per step (Figures 4, 10, 12 and 13 of the paper)."""

import numpy as np


def per_step(table):
    """Return a row per step: extrema over the grid of step sizes η, with g the gradient at θ.

    loss_min, loss_max, loss_variation     of L(θ − ηg), and the width of their band
    predictiveness_min, predictiveness     least and largest ‖g(θ − ηg) − g‖₂
    beta                                   largest ‖g(θ − ηg) − g‖₂ / (η ‖g‖₂)
    beta_at_lr                             the same at η = lr alone
    gradient_norm                          ‖g‖₂

    A value that is not finite somewhere on the grid counts as ∞.
    """
    distance = table["eta"] * table["gradient_norm"]
    rows = table.assign(beta=table["gradient_change"] / distance.where(distance > 0))
    rows["beta_at_lr"] = rows["beta"].where(np.isclose(rows["eta"], rows["lr"]))
    varying = ["loss", "gradient_change"]
    rows[varying] = rows[varying].fillna(np.inf)
    rows["beta"] = rows["beta"].where(np.isfinite(rows["gradient_change"]), np.inf)
    steps = rows.groupby(["condition", "seed", "step"], sort=False).agg(
        loss_min=("loss", "min"),
        loss_max=("loss", "max"),
        predictiveness_min=("gradient_change", "min"),
        predictiveness=("gradient_change", "max"),
        beta=("beta", "max"),
        beta_at_lr=("beta_at_lr", "max"),
        gradient_norm=("gradient_norm", "first"),
    )
    width = (steps["loss_max"] - steps["loss_min"]).where(np.isfinite(steps["loss_max"]), np.inf)
    steps.insert(2, "loss_variation", width)
    return steps.reset_index()
