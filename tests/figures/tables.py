"""Raw tables of a study that never ran: random numbers, no two alike, in the columns that stages write."""

import numpy as np
import pandas as pd

SEEDS = (3, 0, 7, 5)  # in the order of the study: the first one is not the smallest
STEPS, TEST_EVERY, PROBED = 12, 4, (0, 3, 6, 9)
# (condition, seed) -> the first step at which the run has no finite loss.
DIVERGED = {
    ("vgg_none", 0): 7,
    ("vgg_none", 5): 9,
    ("vgg_batch_lr0.5", 5): 8,
    ("deep_linear_batch", 7): 5,
    ("vgg_l1", 3): 4,
}
SITES = {"vgg": ("before_relu", "after_relu"), "deep_linear": ("layer_output", "norm_output")}
CHANCE = {"vgg": 0.1, "deep_linear": np.nan}
UNITS, BINS = 3, 6
SHARES = ("thm4.1_mean_share", "thm4.1_correlation_share")
PREMISES = ("thm4.2_premise", "thm4.2_positive_correlation", "thm4.2_semidefinite")
ERRORS = ("thm4.1_error", "thm4.2_error", "thm4.4_error", "thmC.1_error", "obs4.3_error")
SLACKS = ("thm4.2_bound_slack", "thm4.4_printed_slack")
CURVATURES = ("sharpness", "lowest", "hessian_gradient", "trace", "trace_error", "residual", "alignment")
LOSSES = ("convex", "nonconvex", "relu_net", "bn_net")


def measured(study, table, condition, seed):
    """Return one raw table of one run: of training, or of a probe on its snapshots before it diverged."""
    settings = study["conditions"][condition]
    number = list(study["conditions"]).index(condition)
    random = np.random.default_rng([sum(map(ord, table)), number, seed])
    if table == "training":
        rows = _training(random, settings["task"], DIVERGED.get((condition, seed), np.inf))
    else:
        lost = DIVERGED.get((condition, seed), np.inf)
        sizes = study["probes"][table][settings["task"]]
        rows = [row for step in PROBED if step < lost for row in PROBES[table](random, settings, sizes, step)]
    return pd.DataFrame([{"condition": condition, "seed": seed, **row} for row in rows])


def _training(random, task, lost):
    rows = []
    for step in range(STEPS + 1):
        tested = step % TEST_EVERY == 0 or step == STEPS
        accuracies = random.uniform(size=2) if task == "vgg" else (np.nan, np.nan)
        row = {
            "step": step,
            "loss": random.lognormal() if step < STEPS else np.nan,
            "accuracy": accuracies[0] if step < STEPS else np.nan,
            "test_accuracy": accuracies[1] if tested else np.nan,
            "chance": CHANCE[task],
            "diverged": 0,
        }
        if step >= lost:
            row |= {"loss": np.inf, "accuracy": np.nan, "test_accuracy": np.nan, "diverged": 1}
        rows.append(row)
    return rows


def _along_gradient(random, settings, sizes, step):
    length = random.lognormal()
    for size in sizes["step_sizes"]:
        eta = size * settings["lr"]
        yield {
            "step": step, "lr": settings["lr"], "eta": eta, "loss": random.lognormal(1),
            "gradient_change": random.lognormal(2), "gradient_length": length,
        }  # fmt: skip


def _covariate_shift(random, settings, sizes, step):
    for layer in sizes["layers"]:
        yield {
            "step": step, "layer": layer, "difference": random.lognormal(),
            "relative_difference": random.lognormal(), "cosine": random.uniform(-1, 1),
            "gradient_length": random.lognormal(),
        }  # fmt: skip


def _activations(random, settings, sizes, step):
    for layer in sizes["layers"]:
        for site in SITES[settings["task"]]:
            for unit in range(UNITS):
                row = {"step": step, "layer": layer, "site": site, "unit": unit}
                for when in ("", "_next", "_same_batch"):
                    row |= {f"mean{when}": random.normal(), f"variance{when}": random.lognormal()}
                row |= {"low": -random.lognormal(), "high": random.lognormal()}
                counts = random.integers(0, 50, size=BINS)
                yield row | {f"bin_{i}": int(count) for i, count in enumerate(counts)}


def _theorems(random, settings, sizes, step):
    for layer in sizes["layers"]:
        for unit in range(UNITS):
            row = {"step": step, "layer": layer, "unit": unit}
            row |= {column: 10 ** random.uniform(-16, -8) for column in ERRORS}
            row |= {column: random.normal(scale=3) for column in SLACKS}
            row |= {column: 10 ** random.uniform(-8, 0) for column in SHARES}
            row |= {column: float(random.integers(0, 2)) for column in PREMISES}
            # The bound that Theorem 4.4 prints may be 0: its slack is then infinite.
            yield row | ({"thm4.4_printed_slack": np.inf} if (step, unit) == (6, 1) else {})


def _curvature(random, settings, sizes, step):
    for phase in range(sizes["phases"]):
        row = {"step": step, "phase": phase, "lr": settings["lr"]}
        row |= {column: random.lognormal() / settings["lr"] for column in CURVATURES}
        yield row | {"gradient_curvature": random.normal() / settings["lr"]}


PROBES = {
    "along_gradient": _along_gradient,
    "covariate_shift": _covariate_shift,
    "activations": _activations,
    "curvature": _curvature,
    "theorems": _theorems,
}


def random_layers(draws=12):
    """Return a table of theorems on random layers; rows at ε > 0 must be drawn nowhere."""
    random = np.random.default_rng(0)
    rows = []
    for draw in range(draws):
        about = {"draw": draw, "loss": LOSSES[draw % len(LOSSES)]}
        for eps in (0.0, 1e-5):
            for theorem in ("thm4.1", "thm4.2", "obs4.3"):
                rows.append({"theorem": theorem, **about, "eps": eps, "error": 10 ** random.uniform(-18, -8)})
                if theorem == "thm4.2":
                    rows[-1]["bound_slack"] = random.normal()
        rows.append({"theorem": "thm4.4", **about, "eps": 0.0, "printed_slack": random.normal(scale=9)})
        rows.append({"theorem": "thmC.1", **about, "eps": 0.0, "excess": random.uniform()})
        rows[-1]["output_excess"] = random.uniform()
    return pd.DataFrame(rows)
