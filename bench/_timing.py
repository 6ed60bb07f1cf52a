"""Durations measured side by side, and rows of the table that `bench.py` prints."""

import gc
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 9


@dataclass(frozen=True)
class Row:
    """One line of the table.

    what: the thing measured; against: what it is compared with; value: ratio or seconds, as text;
    floor: the same compared with the least that the arithmetic needs, empty if that means nothing.
    """

    what: str
    against: str
    value: str
    floor: str = ""


def side_by_side(*calls, repeats=1, rounds=ROUNDS):
    """Return the median processor seconds of each call. The calls take turns, in one process.

    On a shared machine the load changes from minute to minute. Calls that take turns see the same load.
    """
    times = [[] for _ in calls]
    for call in calls:
        call()
    gc.collect()
    for _ in range(rounds):
        for call, found in zip(calls, times, strict=True):
            start = time.process_time()
            for _ in range(repeats):
                call()
            found.append((time.process_time() - start) / repeats)
    return [statistics.median(found) for found in times]


def times(ratio):
    """Return a ratio as text."""
    return f"{ratio:.2f} ×" if ratio < 10 else f"{ratio:.1f} ×"


def command(*arguments, cwd=ROOT, **environment):
    """Run a command that must succeed; return its seconds, its processor seconds, and what it printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        arguments, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(
            f"error: {' '.join(map(str, arguments))}: exit status {done.returncode}\n{done.stderr[-3000:]}"
        )
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, done.stdout + done.stderr


def machine():
    """Return a description of the machine: processor, cores, memory, Python and PyTorch."""
    import torch

    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, PyTorch {torch.__version__}"
    )
