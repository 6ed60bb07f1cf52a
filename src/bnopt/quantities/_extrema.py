"""Extrema over a grid of step sizes: what a landscape along a direction comes down to at a step."""

import numpy as np


def extrema(table, keys):
    """Return a row per group of `keys`: extrema over the step sizes η, with g the gradient at θ.

    table: lr, eta, loss, gradient_change, gradient_length for steps of η along d with ‖d‖ = ‖g‖.
    loss_min, loss_max, loss_variation     of L(θ − ηd), and the width of their band
    predictiveness_min, predictiveness     least and largest ‖g(θ − ηd) − g‖₂
    beta                                   largest ‖g(θ − ηd) − g‖₂ / (η ‖d‖₂)
    beta_at_lr                             the same at η = lr alone
    gradient_length                          ‖g‖₂

    A value that is not finite somewhere on the grid counts as ∞.
    """
    distance = table["eta"] * table["gradient_length"]
    rows = table.assign(beta=table["gradient_change"] / distance.where(distance > 0))
    rows["beta"] = rows["beta"].where(np.isfinite(rows["gradient_change"]), np.inf)
    rows["beta_at_lr"] = rows["beta"].where(np.isclose(rows["eta"] / rows["lr"], 1))
    varying = ["loss", "gradient_change"]
    rows[varying] = rows[varying].fillna(np.inf)
    groups = rows.groupby(keys, sort=False).agg(
        loss_min=("loss", "min"),
        loss_max=("loss", "max"),
        predictiveness_min=("gradient_change", "min"),
        predictiveness=("gradient_change", "max"),
        beta=("beta", "max"),
        beta_at_lr=("beta_at_lr", "max"),
        gradient_length=("gradient_length", "first"),
    )
    finite = np.isfinite(groups["loss_max"])
    width = groups["loss_max"].where(finite, 0) - groups["loss_min"].where(finite, 0)
    groups.insert(2, "loss_variation", width.where(finite, np.inf))
    return groups.reset_index()
