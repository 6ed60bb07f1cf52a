"""What is said of training curves, per step (Figures 1(a), 1(b), 2, 5 and 12(a) of the paper)."""

COLUMNS = ["condition", "seed", "step", "loss", "accuracy", "test_accuracy", "chance", "diverged"]


def per_step(table):
    """Return the columns above, with both accuracies set to chance after divergence."""
    values = table[COLUMNS].copy()
    for accuracy in ("accuracy", "test_accuracy"):
        values[accuracy] = values[accuracy].mask(values["diverged"] == 1, values["chance"])
    return values
