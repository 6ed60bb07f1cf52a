"""Extrema over a grid of step sizes: they summarise, at one training step, the landscape along a line."""

import numpy as np


def extrema(table, keys):
    """Return one row per group of `keys`: extrema over the step sizes η.

    table: the columns of `probes/_line.along_line`, for steps of η along d with ‖d‖ = ‖g‖, where g is the
    gradient at θ.

    loss_min, loss_max                     smallest and largest L(θ − ηd)
    loss_variation                         loss_max − loss_min
    predictiveness_min, predictiveness     smallest and largest ‖g(θ − ηd) − g‖₂
    beta                                   largest ‖g(θ − ηd) − g‖₂ / (η ‖d‖₂); NaN if g is zero
    beta_at_lr                             the same ratio at η = lr alone
    beta_at_lr_in_edges                    that ratio times lr/2: 1 at 2/lr, the edge of stability
    gradient_length                        ‖g‖₂; no figure, claim or report uses it: it is for readers of
                                           the tables

    A loss or a gradient change that is not finite counts as ∞, and so does its β.
    """
    distance = table["eta"] * table["gradient_length"]
    rows = table.assign(beta=table["gradient_change"] / distance.where(distance > 0))
    rows["beta"] = rows["beta"].where(np.isfinite(rows["gradient_change"]), np.inf)
    rows["beta_at_lr"] = rows["beta"].where(np.isclose(rows["eta"] / rows["lr"], 1))
    rows["beta_at_lr_in_edges"] = rows["beta_at_lr"] * rows["lr"] / 2
    varying = ["loss", "gradient_change"]
    rows[varying] = rows[varying].fillna(np.inf)
    groups = rows.groupby(keys, sort=False).agg(
        loss_min=("loss", "min"),
        loss_max=("loss", "max"),
        predictiveness_min=("gradient_change", "min"),
        predictiveness=("gradient_change", "max"),
        beta=("beta", "max"),
        beta_at_lr=("beta_at_lr", "max"),
        beta_at_lr_in_edges=("beta_at_lr_in_edges", "max"),
        gradient_length=("gradient_length", "first"),
    )
    finite = np.isfinite(groups["loss_max"])
    width = groups["loss_max"].where(finite, 0) - groups["loss_min"].where(finite, 0)
    groups.insert(2, "loss_variation", width.where(finite, np.inf))
    return groups.reset_index()
