"""Training curves, per step (Figures 1(a), 1(b), 2, 3, 5, 12(a) and 13(a) of the paper)."""

COLUMNS = ["condition", "seed", "step", "loss", "accuracy", "test_accuracy", "chance", "diverged"]


def per_step(table):
    """Return the columns above; after a run diverges, both accuracies are those of a random guess.

    After divergence the test accuracy has a value only where some run is tested and in the run's last row.
    """
    values = table[COLUMNS].copy()
    tested = values["step"].isin(values.loc[values["test_accuracy"].notna(), "step"])
    # The last row of a run holds its test accuracy only.
    last = values["step"] == values.groupby(["condition", "seed"])["step"].transform("max")
    tested |= last
    diverged = values["diverged"] == 1
    values["accuracy"] = values["accuracy"].mask(diverged & ~last, values["chance"])
    values["test_accuracy"] = values["test_accuracy"].mask(diverged & tested, values["chance"])
    return values
