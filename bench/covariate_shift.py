"""Time the covariate shift of all layers: the probe against a full pass per layer.

    PYTHONPATH=src python bench/covariate_shift.py

In turn and in one process, the script times

(a) one full forward and backward pass of the net,
(b) the probe on all k layers,
(c) Definition 2.1 taken literally: a full pass per layer.

It prints b / (k a) and c / (k a), with medians over rounds. Expect about one half, and slightly more
than 1.
"""

import statistics
import time

import torch

from bnopt.probes import covariate_shift
from bnopt.run.point import Point
from bnopt.run.run import Run
from bnopt.run.vectors import descend, value_and_gradient

ROUNDS = 15


def literal(point, layers):
    """Make a full pass per layer, with all layers below it updated."""
    _, gradient = value_and_gradient(point.loss, point.parameters)
    updated = descend(point.parameters, gradient, point.lr)
    for layer in layers:
        mixed = [
            new if int(name.split(".")[0]) < layer else old
            for name, old, new in zip(point.names, point.parameters, updated, strict=True)
        ]
        value_and_gradient(point.loss, mixed)


def seconds(call, *arguments, **keywords):
    """Return the duration of one call."""
    start = time.perf_counter()
    call(*arguments, **keywords)
    return time.perf_counter() - start


def main():
    """Print one row per depth."""
    torch.set_num_threads(1)
    print("net                         layers   probe / k passes   literal / k passes")
    for depth in (10, 25, 50):
        run = Run(
            None,
            task="deep_linear",
            norm="batch",
            net={"depth": depth},
            batch_size=1000,
            seed=0,
            device=torch.device("cpu"),
        )
        run.fast_pass = None  # on all samples, as any net: on virtual ones, the probe makes whole passes
        point = Point(run, run.model.state_dict(), step=0, lr=1e-6)
        layers = {f"#{number}": number for number in range(1, depth + 1)}
        times = [
            (
                seconds(value_and_gradient, point.loss, point.parameters),
                seconds(covariate_shift.measure, point, layers=layers),
                seconds(literal, point, layers.values()),
            )
            for _ in range(ROUNDS)
        ]
        whole, probe, naive = (statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"deep_linear, batch norm     {depth:6}   {probe / depth / whole:16.2f}"
            f"   {naive / depth / whole:18.2f}"
        )


if __name__ == "__main__":
    main()
