"""Time deep linear nets on virtual samples against the plain path: the net and autograd on all samples.

    PYTHONPATH=src python bench/virtual_samples.py

For each norm, at the sizes of `digits`, the script times in turn and in one process a training step and each
probe on one snapshot, on both paths. It prints the plain path's duration divided by the fast path's, with
medians over rounds of processor time.
"""

import statistics
import time
from functools import partial
from pathlib import Path

from bnopt import plugins
from bnopt.run import device
from bnopt.run.point import Point
from bnopt.run.run import Run, split
from bnopt.study import schema, study
from bnopt.train import updater

ROOT = Path(__file__).resolve().parents[1]
NORMS = ["none", "batch", "l1", "l2", "linf"]
PROBES = ["along_gradient", "random_directions", "covariate_shift"]
ROUNDS, STEPS = 9, 10


def seconds(call, repeats):
    """Return the processor time of one call, in seconds."""
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def calls(of_scale, norm, chosen, *, fast):
    """Return name -> a training step, and each probe on the untrained net."""
    of_run, settings = split(study.train_settings(of_scale, f"deep_linear_{norm}"))
    run = Run(None, **of_run, seed=0, device=chosen)
    if not fast:
        run.fast_pass = None
    update, batch = updater(run, lr=settings["lr"]), run.batch(0)
    state = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    point = Point(run, state, step=0, lr=settings["lr"])
    found = {"step": lambda: update(*batch)}
    for name in PROBES:
        given = study.probe_settings(of_scale, "deep_linear_batch", name)["settings"]
        found[name] = partial(plugins.load("probes", name).measure, point, **given)
    return found


def main():
    """Print one row per norm."""
    config = schema.read(ROOT / "config.yaml", ROOT / "claims.yaml")
    of_scale = study.written_out(config | {"scale": "digits"})
    chosen = device.choose()
    print("plain / fast".ljust(12), *(name.rjust(18) for name in ("step", *PROBES)))
    for norm in NORMS:
        fast, plain = (calls(of_scale, norm, chosen, fast=choice) for choice in (True, False))
        ratios = []
        for name in fast:
            repeats = STEPS if name == "step" else 1
            pairs = [(seconds(plain[name], repeats), seconds(fast[name], repeats)) for _ in range(ROUNDS)]
            of_plain, of_fast = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratios.append(of_plain / of_fast)
        print(norm.ljust(12), *(f"{ratio:18.1f}" for ratio in ratios), flush=True)


if __name__ == "__main__":
    main()
