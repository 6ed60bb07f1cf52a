"""Estimate how long a study takes on this machine, from the times of its steps and snapshots.

    PYTHONPATH=src python bench/study_time.py --scale paper --images results/paper/data/images.npz

In turn and in one process, the script times a training step of each condition, and each probe on one
snapshot. It prints milliseconds and their ratio to a step of the plain net.

Then it prints the number of jobs and the hours of the whole scale for several numbers of workers (GPUs or
cores). Each worker runs one job at a time. The hours are the larger of two numbers: the sum over all jobs
divided by the number of workers, and the longest run with its longest probe. Jobs that only read tables
are left out.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from bnopt import plugins
from bnopt.run import device
from bnopt.run.point import Point
from bnopt.run.run import Run, split
from bnopt.study import schema, study
from bnopt.train import updater

ROOT = Path(__file__).resolve().parents[1]
# Steps before the timing starts.
WARM_UP = 3


def seconds(call, chosen, budget):
    """Return the median duration of a call, repeated for `budget` seconds and at least three times."""
    times = []
    while len(times) < 3 or sum(times) < budget:
        times.append(once(call, chosen))
    return statistics.median(times)


def once(call, chosen):
    """Return the duration of one call on the chosen device."""
    start = time.perf_counter()
    call()
    if chosen.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def trainer(run, lr):
    """Return a function that makes the next training step at every call."""
    update = updater(run, lr=lr)
    steps = itertools.count()

    def train_step():
        step = next(steps)
        run.set_noise(step)
        update(*run.batch(step))

    return train_step


def times_of(of_scale, condition, images, chosen, budget, left_out):
    """Return the seconds of a step, of a test, and of one snapshot of each probe of a condition."""
    of_run, settings = split(study.train_settings(of_scale, condition))
    run = Run(images, **of_run, seed=0, device=chosen)
    step = trainer(run, settings["lr"])
    for _ in range(WARM_UP):
        step()
    found = {"step": seconds(step, chosen, budget)}
    found["test"] = once(lambda: run.task.test(run.model, run.data), chosen)
    point = Point(run, run.model.state_dict(), step=0, lr=settings["lr"])
    for probe, conditions in of_scale["tables"].items():
        if probe in of_scale["probes"] and condition in conditions and probe not in left_out:
            measure = plugins.load("probes", probe).measure
            given = study.probe_settings(of_scale, condition, probe)["settings"]
            found[probe] = once(lambda m=measure, g=given: m(point, **g), chosen)
    return found


def hours(of_scale, times, start_up):
    """Return condition -> job -> hours, for the run of every condition and its probes."""
    jobs = {}
    for condition, found in times.items():
        sizes = study.train_settings(of_scale, condition)
        snapshots = len(range(0, sizes["steps"], sizes["snapshot_every"] or sizes["steps"]))
        tests = 2 + (sizes["steps"] - 1) // sizes["test_every"]
        jobs[condition] = {"train": sizes["steps"] * found["step"] + tests * found["test"]}
        for probe in set(found) - {"step", "test"}:
            given = study.probe_settings(of_scale, condition, probe)["settings"]
            every = given.get("every", sizes["snapshot_every"]) // sizes["snapshot_every"]
            jobs[condition][probe] = -(-snapshots // every) * found[probe]
    return {
        condition: {job: (start_up + value) / 3600 for job, value in of_condition.items()}
        for condition, of_condition in jobs.items()
    }


def main():
    """Print the times and the estimate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scale", default="digits")
    parser.add_argument("--parts", nargs="+", default=["paper"], help="parts of the study, or all")
    parser.add_argument("--images", required=True, help="prepared images of the scale (.npz)")
    parser.add_argument("--seconds", type=float, default=2, help="seconds for timing a step")
    parser.add_argument("--without", nargs="*", default=[], help="probes to leave out")
    parser.add_argument("--conditions", nargs="*", help="conditions to time; all by default")
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 8, 64], help="GPUs or cores")
    options = parser.parse_args()
    config = schema.read(ROOT / "config.yaml", ROOT / "claims.yaml")
    parts = "all" if options.parts == ["all"] else options.parts
    of_scale = study.written_out(config | {"scale": options.scale, "parts": parts})
    chosen = device.choose()
    command = [sys.executable, "-m", "bnopt.train", "--help"]
    start_up = once(lambda: subprocess.run(command, capture_output=True, check=True), torch.device("cpu"))
    name = torch.cuda.get_device_name() if chosen.type == "cuda" else "one core of the processor"
    print(f"{options.scale} on {name}, torch {torch.__version__}, start of a job {start_up:.1f} s\n")

    print("condition                     part                       ms     / plain step")
    times, plain = {}, {}
    for condition in options.conditions or of_scale["conditions"]:
        task = of_scale["conditions"][condition]["task"]
        images, budget = options.images, options.seconds
        times[condition] = times_of(of_scale, condition, images, chosen, budget, options.without)
        plain.setdefault(task, times[condition]["step"])
        for part, value in times[condition].items():
            print(f"{condition:30}{part:20}{1000 * value:9.1f}{value / plain[task]:18.2f}", flush=True)

    seeds = len(of_scale["seeds"])
    each = hours(of_scale, times, start_up)
    total = seeds * sum(sum(jobs.values()) for jobs in each.values())
    longest = max(
        jobs["train"] + max([0, *(v for k, v in jobs.items() if k != "train")]) for jobs in each.values()
    )
    count = seeds * sum(map(len, each.values()))
    print(f"\n{count} jobs of training and probing, {total:.2f} hours in total")
    for kind in sorted({job for jobs in each.values() for job in jobs}):
        print(f"  {kind:20}{seeds * sum(jobs.get(kind, 0) for jobs in each.values()):9.2f} hours")
    for workers in options.workers:
        print(f"{workers:4} at a time: {max(total / workers, longest):.2f} hours")


if __name__ == "__main__":
    main()
