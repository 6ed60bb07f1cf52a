"""Internal covariate shift beside what the Hessian predicts of it, per layer and step."""

import numpy as np

KEYS = ["condition", "seed", "layer", "step"]


def per_step(table):
    """Return one row per layer and step: means over the phases of the columns of the probe, and of these.

    law_is_right           1 if the cosine has the sign of 1 − lr κ s_i, else 0
    constant_is_right      1 if it has the sign that most cosines of its layer have in its run, else 0
    law_over_constant      the difference of the two                            (claims)

    The three are missing where lr κ < 1: there the law has the sign + at every layer. They are also missing
    without a cosine. The means are for readers of the tables, except for those that claims name.
    """
    values = table.assign(**_signs(table)).drop(columns=["phase", "lr"]).groupby(KEYS, sort=False).mean()
    positive = values.pop("is_positive")
    # The constant is chosen by the same means over phases by which it is compared with the law.
    share = positive.groupby(["condition", "seed", "layer"]).transform("mean")
    values["constant_is_right"] = positive.where(share >= 0.5, 1 - positive)
    values["law_over_constant"] = values["law_is_right"] - values["constant_is_right"]
    return values.reset_index()


def _signs(table):
    """Return two columns, 0 or 1 in each row where lr κ is at least 1: positive cosine, law right."""
    edges = table["lr"] * table["gradient_curvature"]
    cosine = table["cosine"].where(edges >= 1)
    law = np.sign(1 - edges * table["share_before"])
    found = {"is_positive": cosine > 0, "law_is_right": np.sign(cosine) == law}
    return {name: column.astype(float).where(cosine.notna()) for name, column in found.items()}
