"""How long a study takes on this machine: a step of training and a snapshot of every probe, timed.

    PYTHONPATH=src python bench/study_time.py --scale paper --images results/paper/data/images.npz

Times each condition's step and each probe's snapshot, in turn and in one process, and prints, a row each,
milliseconds and their ratio to a step of the plain net; then jobs and hours of the whole scale for several
numbers of GPUs (or cores), each at work on one job at a time: the sum over all jobs divided by their
number, or the longest run with its longest probe, whichever is more. What only reads tables is left out.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from bnopt import plugins
from bnopt.run import device
from bnopt.run.point import Point
from bnopt.run.run import Run
from bnopt.study import study
from bnopt.train import updater

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 3


def seconds(call, place, budget):
    """Return the median duration of a call, repeated until the budget is spent, three times at least."""
    times = []
    while len(times) < 3 or sum(times) < budget:
        times.append(once(call, place))
    return statistics.median(times)


def once(call, place):
    """Return the duration of one call."""
    start = time.perf_counter()
    call()
    if place.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def trainer(run, lr):
    """Return a function that makes one step of training after another."""
    update = updater(run, lr=lr)
    steps = itertools.count()

    def train_step():
        step = next(steps)
        run.set_noise(step)
        update(*run.batch(step))

    return train_step


def times_of(config, scale, condition, images, place, budget, left_out):
    """Return seconds of a step, of a test, and of a snapshot per probe of a condition."""
    settings = study.train_settings(config, scale, condition)
    net = {key: settings[key] for key in ("task", "norm", "net", "batch_size")}
    run = Run(images, **net, seed=0, device=place)
    step = trainer(run, settings["lr"])
    for _ in range(WARM_UP):
        step()
    found = {"step": seconds(step, place, budget)}
    found["test"] = once(lambda: run.task.test(run.model, run.data), place)
    point = Point(run, run.model.state_dict(), step=0, lr=settings["lr"])
    for probe, conditions in study.tables(config).items():
        if probe in config["probes"] and condition in conditions and probe not in left_out:
            measure = plugins.load("probes", probe).measure
            given = study.probe_settings(config, scale, condition, probe)["settings"]
            found[probe] = once(lambda m=measure, g=given: m(point, **g), place)
    return found


def hours(config, scale, times, start_up):
    """Return the hours of every job of a scale: per condition those of its run and of its probes."""
    jobs = {}
    for condition, found in times.items():
        sizes = study.train_settings(config, scale, condition)
        snapshots = len(range(0, sizes["steps"], sizes["snapshot_every"] or sizes["steps"]))
        tests = 2 + (sizes["steps"] - 1) // sizes["test_every"]
        jobs[condition] = {"train": sizes["steps"] * found["step"] + tests * found["test"]}
        for probe in set(found) - {"step", "test"}:
            given = study.probe_settings(config, scale, condition, probe)["settings"]
            every = given.get("every", sizes["snapshot_every"]) // sizes["snapshot_every"]
            jobs[condition][probe] = -(-snapshots // every) * found[probe]
    return {
        condition: {job: (start_up + value) / 3600 for job, value in of_condition.items()}
        for condition, of_condition in jobs.items()
    }


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scale", default="digits")
    parser.add_argument("--images", required=True, help="prepared images of the scale (.npz)")
    parser.add_argument("--seconds", type=float, default=2, help="how long a step is timed")
    parser.add_argument("--without", nargs="*", default=[], help="probes to leave out")
    parser.add_argument("--conditions", nargs="*", help="conditions to time; all if left out")
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 8, 64], help="GPUs or cores")
    options = parser.parse_args()
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config = study.restricted(config, options.scale)
    place = device.choose()
    command = [sys.executable, "-m", "bnopt.train", "--help"]
    start_up = once(lambda: subprocess.run(command, capture_output=True, check=True), torch.device("cpu"))
    name = torch.cuda.get_device_name() if place.type == "cuda" else "one core of the processor"
    print(f"{options.scale} on {name}, torch {torch.__version__}, start of a job {start_up:.1f} s\n")

    print("condition                     what                       ms  / its plain step")
    times, plain = {}, {}
    for condition in options.conditions or config["conditions"]:
        task = config["conditions"][condition]["task"]
        images, budget = options.images, options.seconds
        times[condition] = times_of(config, options.scale, condition, images, place, budget, options.without)
        plain.setdefault(task, times[condition]["step"])
        for what, value in times[condition].items():
            print(f"{condition:30}{what:20}{1000 * value:9.1f}{value / plain[task]:18.2f}", flush=True)

    seeds = len(study.scale_of(config, options.scale)["seeds"])
    each = hours(config, options.scale, times, start_up)
    total = seeds * sum(sum(jobs.values()) for jobs in each.values())
    longest = max(
        jobs["train"] + max([0, *(v for k, v in jobs.items() if k != "train")]) for jobs in each.values()
    )
    print(f"\n{seeds * sum(map(len, each.values()))} jobs of training and probing, {total:.2f} hours in all")
    for kind in sorted({job for jobs in each.values() for job in jobs}):
        print(f"  {kind:20}{seeds * sum(jobs.get(kind, 0) for jobs in each.values()):9.2f} hours")
    for workers in options.workers:
        print(f"{workers:4} at a time: {max(total / workers, longest):.2f} hours")


if __name__ == "__main__":
    main()
