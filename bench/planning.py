"""How long planning takes: `snakemake --dry-run` for 1, 10 and 100 conditions, 20 seeds, all probes.

Prints seconds, and milliseconds per job: constant means that planning grows linearly.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 20


def study(conditions):
    """Return a study of that many conditions, all probes measured on all of them, without claims."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["conditions"] = {
        f"{task}_{n}": {"task": task, "norm": "batch", "lr": 1.0e-6}
        for n in range((conditions + 1) // 2)
        for task in ("vgg", "deep_linear")[: conditions - 2 * n]
    }
    config |= {key: {} for key in ("claims", "alternatives", "rate_spread")}
    config["scales"]["digits"]["seeds"] = list(range(SEEDS))
    measured = {
        probe: [name for name, entry in config["conditions"].items() if entry["task"] in tasks]
        for probe, tasks in config["probes"].items()
    }
    config["figures"] = {"fig4": config["figures"]["fig4"] | {"tables": measured}}
    return config


def plan(config):
    """Return the seconds that planning takes, and the number of jobs."""
    with tempfile.TemporaryDirectory() as folder:
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        Path(folder, "config.yaml").write_text(text, encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            ROOT / "Snakefile",
            "--dry-run",
            "--quiet",
        ]
        start = time.monotonic()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        seconds = time.monotonic() - start
    return seconds, int(re.findall(r"^ ?total +(\d+)", done.stdout + done.stderr, re.MULTILINE)[-1])


def main():
    """Print a row per size."""
    print("conditions  jobs  seconds  ms a job")
    for conditions in map(int, sys.argv[1:] or (1, 10, 100)):
        seconds, jobs = plan(study(conditions))
        print(f"{conditions:10}{jobs:6}{seconds:9.1f}{1000 * seconds / jobs:10.2f}", flush=True)


if __name__ == "__main__":
    main()
