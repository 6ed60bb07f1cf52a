"""What is said of the stability of activations, per layer and step (Figures 1(c), 2, 6 and 8)."""

import numpy as np
import pandas as pd

KEYS = ["condition", "seed", "layer", "step"]


def per_step(table):
    """Return a row per layer and step, means over the recorded units.

    With μ, σ² the moments of a unit's values at the first of the task's sites (where they enter the
    non-linearity) on batch t at θ_t, and Δ their change to batch t + 1 at θ_{t+1}:
    mean_change, variance_change     |Δμ|, |Δσ²|                      (Figure 8a)
    mean_relative_change, variance_relative_change       |Δμ|/σ, |Δσ²|/σ²                 (the claims)
    mean_drift, variance_drift       μ_t − μ_0, σ²_t − σ²_0           (Figure 8b)
    sigma                            σ, its median over the units     (Section 4.2, Figure 9)
    sigma_min, sigma_max             its extremes over the units
    The suffix _same_batch: Δ is the change to batch t at θ_{t+1}. Any further site gives the same
    quantities with its name as suffix. A unit that does not vary over the batch has no shift.
    """
    # Which site is the first depends on the task, and so on the condition.
    first = table["site"] == table.groupby("condition")["site"].transform("first")
    suffixes = ("_" + table["site"]).where(~first, "")
    sites = [_at_site(rows, suffix) for suffix, rows in table.groupby(suffixes, sort=False)]
    return pd.concat(sites, axis="columns").reset_index()


def _at_site(rows, suffix):
    """Return the quantities at one site, indexed by KEYS."""
    rows = rows.sort_values([*KEYS, "unit"], kind="stable")
    values = rows[KEYS].copy()
    units = rows.groupby(["condition", "seed", "layer", "unit"])
    spread = {"mean": np.sqrt(rows["variance"]), "variance": rows["variance"]}
    for moment, scale in spread.items():
        varying = scale.where(scale > 0)
        for batch in ("next", "same_batch"):
            change = (rows[f"{moment}_{batch}"] - rows[moment]).abs()
            kind = "" if batch == "next" else "_same_batch"
            values[f"{moment}_change{kind}{suffix}"] = change
            values[f"{moment}_relative_change{kind}{suffix}"] = change / varying
        values[f"{moment}_drift{suffix}"] = rows[moment] - units[moment].transform("first")
    means = values.groupby(KEYS).mean()
    sigma = spread["mean"].groupby([rows[key] for key in KEYS])
    for name, value in (("", sigma.median()), ("_min", sigma.min()), ("_max", sigma.max())):
        means[f"sigma{name}{suffix}"] = value
    return means
