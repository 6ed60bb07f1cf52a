"""The landscape along the gradient, per step (Figures 4 and 10 to 13 of the paper)."""

import numpy as np

from bnopt.quantities._extrema import extrema

KEYS = ["condition", "seed", "step"]


def per_step(table):
    """Return one row per step: the columns of `_extrema.extrema`, then the change at every step size.

    gradient_change_at_<s>     ‖g(θ − ηg) − g‖₂ at η = s · lr; a change that is not finite counts as ∞
    """
    sizes = (table["eta"] / table["lr"]).map("gradient_change_at_{:g}".format)
    curve = table.assign(size=sizes, change=table["gradient_change"].fillna(np.inf)).pivot(
        index=KEYS, columns="size", values="change"
    )
    ordered = curve[sizes.unique()].rename_axis(columns=None).reset_index()
    return extrema(table, KEYS).merge(ordered, on=KEYS)
