"""What is said of training curves, per step (Figures 1(a), 1(b), 2, 5 and 12(a) of the paper)."""

COLUMNS = ["condition", "seed", "step", "loss", "accuracy", "test_accuracy", "chance", "diverged"]


def per_step(table):
    """Return the columns above, with both accuracies set to chance after divergence.

    The test accuracy only at steps at which runs are tested; a run that diverged counts as tested
    after its last step too.
    """
    values = table[COLUMNS].copy()
    tested = values["step"].isin(values.loc[values["test_accuracy"].notna(), "step"])
    # The last row of a run is for its test accuracy alone.
    last = values["step"] == values.groupby(["condition", "seed"])["step"].transform("max")
    tested |= last
    diverged = values["diverged"] == 1
    values["accuracy"] = values["accuracy"].mask(diverged & ~last, values["chance"])
    values["test_accuracy"] = values["test_accuracy"].mask(diverged & tested, values["chance"])
    return values
