"""Internal covariate shift beside what the Hessian predicts of it, per layer and step."""

import numpy as np

KEYS = ["condition", "seed", "layer", "step"]
RUN_KEYS = ["condition", "seed"]


def per_step(table):
    """Return one row per layer and step: means over the phases of the columns of the probe, and these.

    law_is_right           share of the run's rows (layer, step and phase) whose cosine has the sign of
                           1 − lr κ s_i
    constant_is_right      share of the same rows whose cosine has the sign of most of these rows of its layer
    law_over_constant      the difference of the two                            (claims)

    These three are the same in every row of a run. Only rows with a cosine and with lr κ ≥ 1 count: below
    that, the law has the sign + at every layer. A run without such rows has no shares. The means over phases
    are for readers of the tables, except for those that claims name.
    """
    values = table.drop(columns=["phase", "lr"]).groupby(KEYS, sort=False).mean().reset_index()
    shares = _signs(table).groupby(RUN_KEYS).mean()
    shares["law_over_constant"] = shares["law_is_right"] - shares["constant_is_right"]
    return values.join(shares, on=RUN_KEYS)


def _signs(table):
    """Return whether the law and the constant have the right sign in each row that counts, with RUN_KEYS."""
    rows = table[(table["lr"] * table["gradient_curvature"] >= 1) & table["cosine"].notna()]
    sign = np.sign(rows["cosine"])
    law = np.sign(1 - rows["lr"] * rows["gradient_curvature"] * rows["share_before"])
    surplus = sign.groupby([rows[key] for key in (*RUN_KEYS, "layer")]).transform("sum")
    right = {"law_is_right": sign == law, "constant_is_right": sign == np.where(surplus >= 0, 1, -1)}
    return rows[RUN_KEYS].assign(**right)
