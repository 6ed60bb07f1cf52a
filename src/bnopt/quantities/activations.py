"""The stability of activations, per layer and step (Figures 1(c), 2, 6 and 8 of the paper)."""

import numpy as np
import pandas as pd

KEYS = ["condition", "seed", "layer", "step"]


def per_step(table):
    """Return one row per layer and step.

    μ and σ² are the moments of a unit's values on batch t at θ_t. Δ is their change to batch t + 1 at
    θ_{t+1}. Values are means over the recorded units, except for σ.

    mean_change, variance_change              |Δμ|, |Δσ²|                (Figure 8a, alternatives)
    mean_relative_change                      |Δμ|/σ                     (claims)
    variance_relative_change                  |Δσ²|/σ²                   (claims)
    mean_drift, variance_drift                μ_t − μ_0, σ²_t − σ²_0     (Figure 8b)
    sigma                                     median of σ over units     (Section 4.2, Figure 9: claims)
    sigma_min, sigma_max                      extremes of σ over units   (report)

    These columns describe the first of the task's sites, where values enter the non-linearity. Other
    columns have a suffix:

    <change>_same_batch      Δ is the change to batch t at θ_{t+1}
    <column>_<site>          the same quantity at another site of the task, such as _after_relu

    Of the columns with a suffix, claims use only the two relative changes _after_relu. The others are for
    readers of the tables.

    A unit that does not vary over the batch has no relative change: it is left out of that mean.
    """
    # The first site depends on the task, and so on the condition.
    first = table["site"] == table.groupby("condition")["site"].transform("first")
    suffixes = ("_" + table["site"]).where(~first, "")
    sites = [_at_site(rows, suffix) for suffix, rows in table.groupby(suffixes, sort=False)]
    return pd.concat(sites, axis="columns").reset_index()


def _at_site(rows, suffix):
    """Return the quantities at one site, indexed by KEYS; suffix: end of their names."""
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
