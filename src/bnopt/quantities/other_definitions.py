"""Quantities that others measure under the paper's names, per step."""

VALUES = ["predictiveness_evaluation", "beta_evaluation", "consecutive_change"]


def per_step(table):
    """Return the values of the probe; a value that is not finite counts as ∞."""
    values = table[["condition", "seed", "step", *VALUES]].copy()
    values[VALUES] = values[VALUES].fillna(float("inf"))
    return values
