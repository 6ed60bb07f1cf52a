"""Run a scale seed by seed until the hours are over; store the results whenever a seed is complete.

    python tools/seed_by_seed.py SCALE HOURS [images=PATH ...]

Verdicts on fewer seeds than the scale has are interim results (docs/registration.md): looking at them makes
p values and intervals too optimistic, but not the column `e_value`.

Further arguments are passed to snakemake --config. Uses the GPUs of this machine, if any. Call it again
to continue where it stopped.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def main():
    """Add one seed after another, in the order of config.yaml, to those whose results are stored."""
    # On SIGTERM the `finally` of `run_until` runs, as it does on Ctrl-C, and ends snakemake first.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    scale, seeds, end, chosen = arguments()
    stored = stored_seeds(scale)
    if stored > len(seeds):
        sys.exit(
            f"error: config.yaml: scales.{scale}.seeds: expected the {stored} seeds of docs/results/{scale} "
            f"or more, found {len(seeds)}; add seeds, or remove the stored results"
        )
    for count in range(max(1, stored), len(seeds) + 1):
        so_far = ",".join(map(str, seeds[:count]))
        print(f"seeds {so_far} of {scale}", flush=True)
        choice = [f"scale={scale}", f"seeds=[{so_far}]", *chosen]
        code = run_until(end, [sys.executable, "-P", "-m", "snakemake", "--keep-going", "--config", *choice])
        if code is None:
            print("the hours are over; call this again to complete the unfinished jobs")
            return
        if code:
            sys.exit(code)
        subprocess.run([sys.executable, ROOT / "tools" / "store.py", scale], check=True)


def stored_seeds(scale):
    """Return how many seeds the stored results of a scale have; 0 without any."""
    file = ROOT / "docs" / "results" / scale / "claims_per_seed.csv"
    if not file.exists():
        return 0
    with file.open(encoding="utf-8", newline="") as opened:
        return len({row["seed"] for row in csv.DictReader(opened)})


def arguments():
    """Return the scale, its seeds, the time at which to stop, and the further arguments."""
    scales = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["scales"]
    try:
        scale, hours, *chosen = sys.argv[1:]
        return scale, scales[scale]["seeds"], time.monotonic() + 3600 * float(hours), chosen
    except (ValueError, KeyError):
        expected = f"a scale ({', '.join(scales)}) and a number of hours"
        sys.exit(f"error: expected {expected}, found {' '.join(sys.argv[1:]) or 'nothing'}\n\n{__doc__}")


def run_until(end, command):
    """Return the exit code of a command, or None if it was stopped because the time was over."""
    # In a group of its own, so that SIGINT, like Ctrl-C, reaches its jobs too: they write checkpoints.
    process = subprocess.Popen(command, cwd=ROOT, process_group=0)
    try:
        return process.wait(max(0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()


if __name__ == "__main__":
    main()
